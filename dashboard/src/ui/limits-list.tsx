import type { Limits } from "@autonomis/contract/plans.ts"
import { t } from "../texts.ts"
import { bytes, compact, orUnlimited, usd } from "./format.ts"

export function LimitsList({ limits }: { limits: Limits }) {
  const rows: [string, string][] = [
    [t.limits.agents, orUnlimited(limits.agents, String)],
    [t.limits.tokens, orUnlimited(limits.tokens_per_month, compact)],
    [t.limits.usdMonth, orUnlimited(limits.usd_per_month, usd)],
    [t.limits.usdDay, orUnlimited(limits.usd_per_day, usd)],
    [t.limits.storage, orUnlimited(limits.storage_bytes, bytes)],
    [t.limits.requests, orUnlimited(limits.requests_per_minute, compact)],
    [t.limits.runs, orUnlimited(limits.concurrent_runs, String)],
    [
      t.limits.sandbox,
      t.limits.sandboxValue(bytes(limits.sandbox.memory_bytes), limits.sandbox.cpus, limits.sandbox.pids),
    ],
    [t.limits.network, networkOf(limits)],
  ]
  return (
    <dl className="at-facts at-facts-wide">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

function networkOf({ sandbox: { network } }: Limits): string {
  if (network?.allowed === false) return t.limits.networkNone
  return network?.allow || network?.deny?.length ? t.limits.networkSome : t.limits.networkAll
}
