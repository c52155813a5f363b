import { Button, Table, Text } from "@mantine/core"
import { useInfiniteQuery } from "@tanstack/react-query"
import { api } from "../api.ts"
import { t } from "../texts.ts"
import { Loaded } from "./states.tsx"
import { Ago } from "./time.tsx"

/** Who changed what and from where, the newest first; of one account, or (null) of the platform. */
export function AuditList({ user }: { user: string | null }) {
  const query = useInfiniteQuery({
    queryKey: ["audit", user],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) => {
      const page = { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }
      return user === null ? api.audit.platform(page, { signal }) : api.audit.user({ user, ...page }, { signal })
    },
    getNextPageParam: (last) => last.next_cursor,
  })
  return (
    <Loaded query={query}>
      {({ pages }) => {
        const entries = pages.flatMap((page) => page.entries)
        if (entries.length === 0) return <Text c="dimmed">{t.audit.empty}</Text>
        return (
          <>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
            <section className="at-table-scroll at-table-stack" tabIndex={0} aria-label={t.audit.title}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>{t.audit.when}</Table.Th>
                    <Table.Th>{t.audit.who}</Table.Th>
                    <Table.Th>{t.audit.what}</Table.Th>
                    <Table.Th>{t.audit.target}</Table.Th>
                    <Table.Th>{t.audit.from}</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {entries.map((entry) => (
                    <Table.Tr key={`${entry.request_id}/${entry.action}/${entry.target}`}>
                      <Table.Td>
                        <Ago time={entry.time} />
                      </Table.Td>
                      <Table.Td data-label={t.audit.who}>{entry.actor}</Table.Td>
                      <Table.Td data-label={t.audit.what}>
                        <code>{entry.action}</code>
                      </Table.Td>
                      <Table.Td data-label={t.audit.target}>{entry.target}</Table.Td>
                      <Table.Td>{entry.ip ?? ""}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </section>
            {query.hasNextPage ? (
              <Button
                mt="md"
                variant="default"
                loading={query.isFetchingNextPage}
                onClick={() => query.fetchNextPage()}
              >
                {t.more}
              </Button>
            ) : null}
          </>
        )
      }}
    </Loaded>
  )
}
