import { readFileSync } from "node:fs"
import { TEMPLATE_NAMES, type TemplateName } from "@autonomis/contract/templates.ts"

/** The texts that every agent starts from where nobody has set others: the files of `defaults/`. */
export function builtInTemplates(): Record<TemplateName, string> {
  const read = (name: TemplateName) => readFileSync(new URL(`./defaults/${name}`, import.meta.url), "utf8")
  const [soul, user, tools, heartbeat] = TEMPLATE_NAMES
  return { [soul]: read(soul), [user]: read(user), [tools]: read(tools), [heartbeat]: read(heartbeat) }
}
