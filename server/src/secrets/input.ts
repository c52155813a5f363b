import type { SecretsInput } from "@autonomis/contract/agents.ts"
import { wellFormed } from "@autonomis/contract/common.ts"
import type { ErrorDetail } from "@autonomis/contract/errors.ts"
import { SECRET_KEY_PATTERN } from "@autonomis/contract/secrets.ts"
import type { z } from "zod"
import { AppError } from "../lib/errors.ts"
import { isReserved } from "./reserved.ts"

const MAX_VALUE_BYTES = 64 * 1024

/** `agents`: ids; null for every agent; undefined where nothing was said, so that what stood stays. */
export interface CheckedSecret {
  key: string
  value: string
  agents: string[] | null | undefined
}

/** Both forms of the body, checked: 400 names every fault, and then nothing is stored. */
export function checkSecrets(
  input: z.output<typeof SecretsInput>,
  agentIds: ReadonlyMap<string, string>,
): CheckedSecret[] {
  const faults: ErrorDetail[] = []
  const seen = new Set<string>()
  const checked = entriesOf(input).map(({ path, ...entry }) => {
    const key = entry.key.toUpperCase()
    const fault = keyFault(key) ?? valueFault(entry.value) ?? (seen.has(key) ? "is given twice" : null)
    if (fault !== null) faults.push({ path, message: `${shown(key)} ${fault}` })
    seen.add(key)
    return { key, value: entry.value, agents: idsOf(entry.agents, agentIds, path, faults) }
  })
  if (faults.length === 0) return checked
  throw new AppError("invalid_request", `the secrets are not valid: ${faults[0]?.message}`, {
    details: faults.slice(0, 20),
  })
}

interface Entry {
  key: string
  value: string
  agents?: string[] | null | undefined
  path: string
}

function entriesOf(input: z.output<typeof SecretsInput>): Entry[] {
  if (Array.isArray(input)) return input.map((entry, i) => ({ ...entry, path: `secrets[${i}]` }))
  return Object.entries(input).map(([key, value]) => ({ key, value, path: `secrets.${shown(key)}` }))
}

function keyFault(key: string): string | null {
  if (!SECRET_KEY_PATTERN.test(key)) return "is no name for a variable: A-Z, 0-9 and _, not beginning with a digit"
  return isReserved(key) ? "is reserved: it steers programs, so it cannot be a secret" : null
}

function valueFault(value: string): string | null {
  if (value === "") return "is empty; delete it instead"
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) return "is over 64 KiB"
  return wellFormed(value) ? null : "is not well-formed Unicode without NUL"
}

function idsOf(
  names: string[] | null | undefined,
  agentIds: ReadonlyMap<string, string>,
  path: string,
  faults: ErrorDetail[],
): string[] | null | undefined {
  if (names === null || names === undefined) return names
  const ids = new Set<string>()
  for (const name of names) {
    const id = agentIds.get(name)
    if (id === undefined) faults.push({ path, message: `there is no agent ${JSON.stringify(name)}` })
    else ids.add(id)
  }
  return [...ids]
}

const shown = (key: string) => JSON.stringify(key.slice(0, 64)).slice(1, -1)
