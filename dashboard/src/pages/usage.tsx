import type { UsageReport } from "@autonomis/contract/usage.ts"
import { Button, Group, Progress, Stack, Table, Text, TextInput, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useNavigate, useParams, useSearch } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { usageQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { BarChart } from "../ui/bar-chart.tsx"
import { Figure } from "../ui/figure.tsx"
import { compact, count, usd } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { csvOf, daysOf, forecastOf } from "../usage/report.ts"

export function UsagePage() {
  const { user } = useParams({ from: routes.usage })
  const { month: chosen } = useSearch({ from: routes.usage })
  const navigate = useNavigate()
  const now = new Date()
  const current = now.toISOString().slice(0, 7)
  const month = chosen ?? current
  const report = useQuery(usageQuery(user, month))
  return (
    <Page
      title={t.nav.usage}
      hint={t.usage.hint}
      wide
      actions={
        <>
          <TextInput
            type="month"
            aria-label={t.usage.month}
            value={month}
            max={current}
            onChange={(e) => {
              const { value } = e.currentTarget
              if (/^\d{4}-\d{2}$/.test(value))
                void navigate({ to: routes.usage, params: { user }, search: { month: value } })
            }}
          />
          <Button
            variant="default"
            leftSection={<Icon name="download" size={16} />}
            disabled={!report.data || report.data.runs === 0}
            onClick={() => report.data && download(`usage-${user}-${month}.csv`, csvOf(report.data))}
          >
            CSV
          </Button>
        </>
      }
    >
      <Loaded query={report}>{(data) => <Report report={data} now={now} current={month === current} />}</Loaded>
    </Page>
  )
}

function download(name: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }))
  const link = document.createElement("a")
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

function Report({ report, now, current }: { report: UsageReport; now: Date; current: boolean }) {
  const { tokens, limit_tokens: limit, cost_usd: cost, runs } = report
  const forecast = current ? forecastOf(tokens.total, now) : null
  const share = limit === null || limit === 0 ? 0 : (100 * tokens.total) / limit
  return (
    <Stack gap="lg">
      <div className="at-figures">
        <Figure label={t.usage.tokens} value={compact(tokens.total)} title={count(tokens.total)}>
          {limit === null ? (
            <Text size="sm" c="dimmed">
              {t.usage.noLimit}
            </Text>
          ) : (
            <>
              <Progress
                value={Math.min(share, 100)}
                color={share > 90 ? "red" : share > 70 ? "yellow" : "indigo"}
                aria-label={t.usage.ofLimit(Math.round(share), compact(limit))}
              />
              <Text size="sm" c="dimmed">
                {t.usage.ofLimit(Math.round(share), compact(limit))}
              </Text>
            </>
          )}
        </Figure>
        <Figure label={t.usage.cost} value={usd(cost)}>
          {report.estimated ? (
            <Text size="sm" c="dimmed">
              {t.usage.estimated}
            </Text>
          ) : null}
        </Figure>
        <Figure label={t.usage.runs} value={count(runs)} />
        {forecast === null ? null : (
          <Figure label={t.usage.forecast} value={compact(forecast)}>
            <Text size="sm" c={limit !== null && forecast > limit ? "var(--mantine-color-error)" : "dimmed"}>
              {limit !== null && forecast > limit ? t.usage.overLimit : t.usage.forecastHint}
            </Text>
          </Figure>
        )}
      </div>
      {runs === 0 ? (
        <Empty icon="usage" title={t.usage.emptyTitle} text={t.usage.emptyText} />
      ) : (
        <>
          <section className="at-card" aria-label={t.usage.byDay}>
            <Title order={2} mb="md">
              {t.usage.byDay}
            </Title>
            <BarChart bars={daysOf(report)} label={t.usage.byDay} />
          </section>
          <div className="at-two">
            <Sums
              title={t.usage.byAgent}
              name={t.usage.agent}
              rows={report.by_agent.map((r) => ({ ...r, name: r.agent }))}
            />
            <Sums
              title={t.usage.byModel}
              name={t.usage.model}
              rows={report.by_model.map((r) => ({ ...r, name: r.model }))}
            />
          </div>
        </>
      )}
    </Stack>
  )
}

type Row = { name: string; tokens: { total: number }; cost_usd: number; runs: number }

function Sums({ title, name, rows }: { title: string; name: string; rows: readonly Row[] }) {
  const most = Math.max(...rows.map((row) => row.tokens.total), 1)
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="at-card at-table-card at-table-narrow" tabIndex={0} aria-label={title}>
      <Group>
        <Title order={2} mb="sm">
          {title}
        </Title>
      </Group>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{name}</Table.Th>
            <Table.Th ta="right">{t.usage.tokens}</Table.Th>
            <Table.Th ta="right">{t.usage.cost}</Table.Th>
            <Table.Th ta="right">{t.usage.runs}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.name}>
              <Table.Td>
                {row.name}
                <Progress size="sm" mt={6} value={(100 * row.tokens.total) / most} aria-hidden />
              </Table.Td>
              <Table.Td ta="right">{compact(row.tokens.total)}</Table.Td>
              <Table.Td ta="right">{usd(row.cost_usd)}</Table.Td>
              <Table.Td ta="right">{count(row.runs)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
