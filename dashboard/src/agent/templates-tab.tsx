import { useMutation, useQuery } from "@tanstack/react-query"
import { api, queryClient } from "../api.ts"
import type { AgentTabProps } from "../pages/agent.tsx"
import { t } from "../texts.ts"
import { Loaded } from "../ui/states.tsx"
import { TemplatesEditor } from "../ui/templates-editor.tsx"

export function TemplatesTab({ user, agent }: AgentTabProps) {
  const key = ["templates", user, agent]
  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => api.templates.agentGet({ user, agent }, { signal }),
  })
  const base = useQuery({
    queryKey: ["templates", user],
    queryFn: ({ signal }) => api.templates.userGet({ user }, { signal }),
  })
  const save = useMutation({
    mutationFn: (templates: Record<string, string | null>) => api.templates.agentPut({ user, agent }, { templates }),
    onSuccess: (answer) => queryClient.setQueryData(key, answer),
  })
  return (
    <Loaded query={query}>
      {({ effective, source }) => (
        <TemplatesEditor
          texts={effective}
          source={source}
          own="agent"
          base={base.data?.templates ?? null}
          hint={t.templates.agentHint}
          save={(templates) => save.mutateAsync(templates)}
        />
      )}
    </Loaded>
  )
}
