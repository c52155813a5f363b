import { Button } from "@mantine/core"
import { useNavigate } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { usePageTitle } from "../ui/page.tsx"
import { Empty } from "../ui/states.tsx"

export function NotFound() {
  const navigate = useNavigate()
  usePageTitle(t.notFound.title)
  return (
    <div className="at-page">
      <Empty whole icon="search" title={t.notFound.title} text={t.notFound.text}>
        <Button onClick={() => navigate({ to: routes.home })}>{t.notFound.home}</Button>
      </Empty>
    </div>
  )
}
