import { z } from "zod"
import { SecretsInput } from "./agents.ts"
import { define, Name, Time, UserParams } from "./common.ts"

export const SECRET_KEY_PATTERN = /^[A-Z_][A-Z0-9_]{0,127}$/

export const Secret = z
  .object({
    key: z.string(),
    value: z.literal("********"),
    agents: z.array(Name).nullable().meta({ description: "null: every agent." }),
    masked: z.boolean().meta({ description: "False for a value too short to be masked in output." }),
    updated_at: Time,
  })
  .meta({ id: "Secret" })
export type Secret = z.infer<typeof Secret>
export const SecretList = z.object({ secrets: z.array(Secret) }).meta({ id: "SecretList" })

export const secrets = {
  put: define("Secrets", {
    id: "secrets.put",
    call: "PUT /U/secrets",
    access: "owner",
    summary: "Add or update secrets",
    description:
      "As `{KEY: value}`, or a list that also says which agents may use each. Keys are upper-cased. All are stored or none. The answer lists every secret of the user.",
    params: UserParams,
    body: z.strictObject({ secrets: SecretsInput }),
    answer: SecretList,
    errors: ["plan_limit"],
    example: { body: { secrets: { GITHUB_TOKEN: "ghp_example_0123456789" } } },
  }),
  list: define("Secrets", {
    id: "secrets.list",
    call: "GET /U/secrets",
    access: "owner",
    summary: "List secret keys (values are masked)",
    description: "In order of their keys. Values are never returned.",
    params: UserParams,
    answer: SecretList,
    example: {},
  }),
  delete: define("Secrets", {
    id: "secrets.delete",
    call: "DELETE /U/secrets/{key}",
    access: "owner",
    summary: "Delete a secret",
    description: "It is gone from the next command on.",
    params: UserParams.extend({ key: z.string().max(200) }),
    example: { params: { key: "GITHUB_TOKEN" } },
  }),
}
