import { useMutation, useQuery } from "@tanstack/react-query"
import { api, queryClient } from "../api.ts"
import { t } from "../texts.ts"
import { Loaded } from "../ui/states.tsx"
import { TemplatesEditor } from "../ui/templates-editor.tsx"

const KEY = ["platform-templates"]

export function PlatformTemplatesTab() {
  const query = useQuery({ queryKey: KEY, queryFn: ({ signal }) => api.templates.platformGet({}, { signal }) })
  const save = useMutation({
    mutationFn: (templates: Record<string, string | null>) => api.templates.platformPut({}, { templates }),
    onSuccess: (answer) => queryClient.setQueryData(KEY, answer),
  })
  return (
    <Loaded query={query}>
      {({ templates, source }) => (
        <TemplatesEditor
          texts={templates}
          source={source}
          own="platform"
          base={null}
          hint={t.templates.platformHint}
          save={(texts) => save.mutateAsync(texts)}
        />
      )}
    </Loaded>
  )
}
