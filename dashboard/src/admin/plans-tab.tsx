import { Badge, Group, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { plansQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { LimitsList } from "../ui/limits-list.tsx"
import { Loaded } from "../ui/states.tsx"

export function PlansTab() {
  const plans = useQuery(plansQuery)
  return (
    <Loaded query={plans}>
      {({ plans: list, default: normal }) => (
        <>
          <Text c="dimmed" mb="md">
            {t.admin.plansHint}
          </Text>
          <ul className="at-cards">
            {list.map((plan) => (
              <li key={plan.tier}>
                <article className="at-card">
                  <Group justify="space-between" mb="md">
                    <Title order={2}>{plan.tier}</Title>
                    {plan.tier === normal ? <Badge variant="light">{t.agents.default}</Badge> : null}
                  </Group>
                  <LimitsList limits={plan.limits} />
                </article>
              </li>
            ))}
          </ul>
        </>
      )}
    </Loaded>
  )
}
