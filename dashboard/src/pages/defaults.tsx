import { useMutation, useQuery } from "@tanstack/react-query"
import { useParams } from "@tanstack/react-router"
import { api, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { Page } from "../ui/page.tsx"
import { Loaded } from "../ui/states.tsx"
import { TemplatesEditor } from "../ui/templates-editor.tsx"

/** What all agents of a user start from. */
export function DefaultsPage() {
  const { user } = useParams({ from: routes.defaults })
  const key = ["templates", user]
  const query = useQuery({ queryKey: key, queryFn: ({ signal }) => api.templates.userGet({ user }, { signal }) })
  const save = useMutation({
    mutationFn: (templates: Record<string, string | null>) => api.templates.userPut({ user }, { templates }),
    onSuccess: (answer) => queryClient.setQueryData(key, answer),
  })
  return (
    <Page title={t.agents.defaults} wide>
      <Loaded query={query}>
        {({ templates, source }) => (
          <TemplatesEditor
            texts={templates}
            source={source}
            own="user"
            base={null}
            hint={t.templates.userHint}
            save={(texts) => save.mutateAsync(texts)}
          />
        )}
      </Loaded>
    </Page>
  )
}
