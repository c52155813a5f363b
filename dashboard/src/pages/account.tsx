import { Badge, Button, Group, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useParams } from "@tanstack/react-router"
import { api } from "../api.ts"
import { API_DOCS, routes } from "../paths.ts"
import { meQuery, userQuery } from "../queries.ts"
import { useSignOut } from "../shell/shell.tsx"
import { t } from "../texts.ts"
import { AuditList } from "../ui/audit-list.tsx"
import { LimitsList } from "../ui/limits-list.tsx"
import { Page } from "../ui/page.tsx"
import { RotateKey } from "../ui/rotate-key.tsx"
import { Loaded } from "../ui/states.tsx"

/** The plan, what it allows, the account's key, and who changed what. */
export function AccountPage() {
  const { user } = useParams({ from: routes.account })
  const query = useQuery(userQuery(user))
  const signOut = useSignOut()
  // An administrator who looks on would end their own sign-ins, not the user's.
  const own = useQuery(meQuery).data?.kind === "user"
  return (
    <Page
      title={t.account.title}
      hint={t.account.hint}
      actions={
        <Button variant="default" component="a" href={API_DOCS} target="_blank" rel="noreferrer">
          {t.nav.docs}
        </Button>
      }
    >
      <Loaded query={query}>
        {(info) => (
          <Stack gap="lg">
            <section className="at-card" aria-label={t.account.plan}>
              <Group mb="md" gap="sm">
                <Title order={2}>{info.display_name ?? info.user}</Title>
                <Badge variant="light">{info.tier}</Badge>
                {info.state === "suspended" ? (
                  <Badge color="red" variant="light">
                    {t.admin.states.suspended}
                  </Badge>
                ) : null}
              </Group>
              <LimitsList limits={info.limits} />
            </section>
            <section className="at-card" aria-label={t.account.key}>
              <RotateKey
                title={t.account.key}
                text={t.account.keyText}
                keyLabel={t.keys.keyOf(user)}
                rotate={(grace) => api.users.rotateKey({ user }, { grace_seconds: grace })}
              />
            </section>
            {own ? (
              <section className="at-card" aria-label={t.account.signIns}>
                <Group justify="space-between">
                  <div className="at-grow">
                    <Title order={2}>{t.account.signIns}</Title>
                    <Text size="sm" c="dimmed" mt={4}>
                      {t.account.signInsText}
                    </Text>
                  </div>
                  <Button variant="default" loading={signOut.isPending} onClick={() => signOut.mutate(true)}>
                    {t.nav.signOutEverywhere}
                  </Button>
                </Group>
              </section>
            ) : null}
            <section className="at-card at-table-card" aria-label={t.account.activity}>
              <Title order={2} mb="md">
                {t.account.activity}
              </Title>
              <AuditList user={user} />
            </section>
          </Stack>
        )}
      </Loaded>
    </Page>
  )
}
