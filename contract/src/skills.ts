import { z } from "zod"
import { define, MIB, RawBody, Time, UserParams } from "./common.ts"

export const SkillId = z
  .string()
  .max(64)
  .regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, "1 to 64 of a-z, 0-9 and single -, beginning and ending with a letter or digit")

export const Skill = z
  .object({
    id: SkillId,
    name: z.string(),
    description: z.string(),
    source: z.enum(["upload", "clawhub"]),
    owner: z.string().nullable(),
    version: z.string().nullable(),
    latest_version: z.string().nullable(),
    sha256: z.string().meta({ description: "One hash of all files, made as the registry makes its own." }),
    size_bytes: z.number().int(),
    files: z.array(z.string()),
    requires: z.object({ env: z.array(z.string()), bins: z.array(z.string()) }),
    missing: z.array(z.string()),
    state: z.enum(["active", "incomplete", "quarantined"]),
    reason: z.string().nullable(),
    installed_at: Time,
    provenance: z
      .object({
        registry: z.string(),
        verdict: z.string(),
        reasons: z.array(z.string()),
        checked_at: Time,
        risk_accepted: z.boolean(),
      })
      .nullable()
      .meta({ description: "What the registry held of this version when it was last asked; null for an upload." }),
  })
  .meta({ id: "Skill" })
export type Skill = z.infer<typeof Skill>

export const RegistrySkill = z
  .object({
    slug: z.string(),
    owner: z.string().nullable(),
    name: z.string(),
    summary: z.string().nullable(),
    version: z.string().nullable(),
    downloads: z.number().int(),
    updated_at: Time.nullable(),
    verdict: z.string().nullable(),
    installed: z.boolean(),
  })
  .meta({ id: "RegistrySkill" })
export type RegistrySkill = z.infer<typeof RegistrySkill>

/** The events of an upload or install that was asked for as `text/event-stream`; `done` or `error` is the last. */
export const INSTALL_EVENTS = {
  stage: z.object({
    stage: z.enum(["resolving", "downloading", "checking", "unpacking"]),
    bytes: z.number().int().nullable().meta({ description: "Received so far; null but for `downloading`." }),
    total: z.number().int().nullable().meta({ description: "Null where the registry does not say." }),
  }),
  done: Skill,
  /** What an answer with this status would have said. */
  error: z.looseObject({ status: z.number().int(), error: z.string(), code: z.string() }),
} as const
export type InstallStage = z.infer<typeof INSTALL_EVENTS.stage>

const IN_STAGES =
  "With `Accept: text/event-stream` its progress as it comes: `stage` with `{stage, bytes, total}`, and last `done` (the skill) or `error` (the error's body with its `status`). What is refused before the first stage is answered as without."

const SkillParams = UserParams.extend({ id: z.string().max(200) })

export const skills = {
  list: define("Skills", {
    id: "skills.list",
    call: "GET /U/skills",
    access: "owner",
    summary: "List a user's skills",
    description: "With what each lacks, and the newest version in the registry.",
    params: UserParams,
    answer: z.object({ skills: z.array(Skill) }),
    example: {},
  }),
  read: define("Skills", {
    id: "skills.read",
    call: "GET /U/skills/{id}/file",
    access: "owner",
    summary: "Read a skill's SKILL.md",
    description: "As `text/markdown`.",
    params: SkillParams,
    produces: "bytes",
    example: { params: { id: "greeter" } },
  }),
  upload: define("Skills", {
    id: "skills.upload",
    call: "PUT /U/skills/{id}/file",
    access: "owner",
    summary: "Upload a custom skill",
    description: `A SKILL.md (\`text/markdown\`), or a zip (\`application/zip\`) with SKILL.md at its root or in its one folder. The id must equal the frontmatter's \`name\`. An update that fails leaves the old version in place. ${IN_STAGES}`,
    params: SkillParams,
    body: RawBody,
    bodyKind: "raw",
    maxBodyBytes: 10 * MIB,
    answer: Skill,
    statuses: [201, 200],
    also: ["text/event-stream"],
    errors: ["plan_limit", "conflict", "sandbox_unavailable"],
    example: {
      params: { id: "greeter" },
      contentType: "text/markdown",
      body: "---\nname: greeter\ndescription: Greets people. Use when asked for a greeting.\n---\n\nSay hello by name.\n",
    },
  }),
  delete: define("Skills", {
    id: "skills.delete",
    call: "DELETE /U/skills/{id}/file",
    access: "owner",
    summary: "Delete a skill",
    description: "No agent is offered it from the next message on.",
    params: SkillParams,
    example: { params: { id: "greeter" } },
  }),
  search: define("Skills", {
    id: "skills.search",
    call: "GET /U/skills/registry",
    access: "owner",
    summary: "Search the skill registry",
    description: "What ClawHub finds for `q`.",
    params: UserParams,
    query: z.strictObject({ q: z.string().min(1).max(200) }),
    answer: z.object({ skills: z.array(RegistrySkill) }),
    errors: ["failed_dependency"],
    example: { query: { q: "hello" } },
  }),
  install: define("Skills", {
    id: "skills.install",
    call: "POST /U/skills/{slug}/registry-install",
    access: "owner",
    summary: "Install a skill from ClawHub",
    description: `Pinned to an owner and a version, every file checked against its published hash. What the registry holds suspicious needs \`accept_risk\`; malware is never installed. ${IN_STAGES}`,
    params: UserParams.extend({ slug: z.string().max(200) }),
    body: z.strictObject({
      owner: z
        .string()
        .regex(/^[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?$/, "a publisher's handle")
        .optional(),
      version: z.string().min(1).max(100).optional(),
      accept_risk: z.boolean().optional(),
    }),
    bodyOptional: true,
    answer: Skill,
    statuses: [201, 200],
    also: ["text/event-stream"],
    errors: [
      "ambiguous_skill",
      "needs_accept_risk",
      "malware",
      "plan_limit",
      "conflict",
      "failed_dependency",
      "sandbox_unavailable",
    ],
    example: { params: { slug: "hello-world" }, body: { owner: "acme" } },
  }),
}
