import { type AgentConfig, AgentConfigPatch, DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import { remember } from "../lib/remember.ts"

/** An agent's settings as its row holds them, with the defaults filled in. */
export const configOf = remember(
  (row: { config: string }): Readonly<AgentConfig> => fullConfig(storedConfig(row.config)),
)

/** The settings with the defaults filled in for what is not set. */
export function fullConfig(set: AgentConfigPatch): AgentConfig {
  const { tools, ...rest } = set
  return { ...DEFAULT_CONFIG, ...withoutNull(rest), tools: { ...DEFAULT_CONFIG.tools, ...withoutNull(tools ?? {}) } }
}

/** JSON Merge Patch (RFC 7396) over what is set: null takes a field out, so that it returns to its default. */
export function mergeConfig(set: AgentConfigPatch, patch: AgentConfigPatch): AgentConfigPatch {
  const { tools: toolsPatch, ...rest } = patch
  const { tools: toolsSet, ...others } = set
  const tools = toolsPatch === null ? {} : withoutNull({ ...toolsSet, ...toolsPatch })
  return { ...withoutNull({ ...others, ...rest }), ...(Object.keys(tools).length === 0 ? {} : { tools }) }
}

type WithoutNull<T> = { [K in keyof T]?: Exclude<T[K], null | undefined> }

function withoutNull<T extends object>(values: T): WithoutNull<T> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== null && value !== undefined),
  ) as WithoutNull<T>
}

/** What is stored of the settings; those that this program does not know are left out, one by one. */
export function storedConfig(text: string): AgentConfigPatch {
  const values: unknown = JSON.parse(text)
  if (typeof values !== "object" || values === null) return {}
  const known = Object.entries(values).filter(([name, value]) => AgentConfigPatch.safeParse({ [name]: value }).success)
  return AgentConfigPatch.parse(Object.fromEntries(known))
}
