import { agents } from "./agents.ts"
import { chat } from "./chat.ts"
import type { Endpoint } from "./endpoint.ts"
import { files } from "./files.ts"
import { health } from "./health.ts"
import { models } from "./models.ts"
import { plans } from "./plans.ts"
import { platform } from "./platform.ts"
import { secrets } from "./secrets.ts"
import { skills } from "./skills.ts"
import { templates } from "./templates.ts"
import { usage } from "./usage.ts"
import { users } from "./users.ts"

/** Every endpoint of the API by resource: the table that routes, reference, SDK and the role matrix are made from. */
export const contract = {
  health,
  users,
  plans,
  agents,
  models,
  chat,
  templates,
  secrets,
  files,
  skills,
  usage,
  platform,
}

export const ENDPOINTS: readonly Endpoint[] = Object.values(contract).flatMap((group): Endpoint[] =>
  Object.values(group),
)
