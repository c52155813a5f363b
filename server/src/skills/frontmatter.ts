import { parseDocument } from "yaml"
import { z } from "zod"
import { AppError } from "../lib/errors.ts"
import { MAX_FRONTMATTER_BYTES, MAX_SKILL_MD_BYTES } from "./limits.ts"

/** What a SKILL.md says about itself. */
export interface SkillHeader {
  name: string
  description: string
  license: string | null
  compatibility: string | null
  homepage: string | null
  allowedTools: string[]
  /** False: only the model decides to use it. */
  userInvocable: boolean
  /** True: it is never listed for the model. */
  disableModelInvocation: boolean
  /** Offered even where something is missing. */
  always: boolean
  emoji: string | null
  primaryEnv: string | null
  /** `linux`, `darwin`, `win32`; empty: any. */
  os: string[]
  requires: { bins: string[]; anyBins: string[]; env: string[]; config: string[] }
  /** How the author would install what it needs; shown to nobody and never run. */
  install: { id: string | null; kind: string | null; label: string | null }[]
}

const invalid = (why: string) => new AppError("invalid_request", `SKILL.md is not valid: ${why}`)

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/
/** What would break a line of the prompt or of a terminal; line breaks of a folded text are turned to spaces first. */
const CONTROL = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u

const text = (max: number) =>
  z
    .string()
    .transform((value) => value.trim().replace(/\s+/g, " "))
    .pipe(
      z
        .string()
        .min(1, "must not be empty")
        .max(max, `at most ${max} characters`)
        .refine((value) => !CONTROL.test(value), "must hold no control characters"),
    )

/** Written as YAML's own, or as the words that older skills use. */
const flag = z.union(
  [
    z.boolean(),
    z
      .string()
      .trim()
      .toLowerCase()
      .pipe(z.enum(["true", "false", "yes", "no", "on", "off", "1", "0"]))
      .transform((word) => ["true", "yes", "on", "1"].includes(word)),
    z.literal(0).transform(() => false),
    z.literal(1).transform(() => true),
  ],
  "must be true or false",
)

const words = (pattern: RegExp, what: string) =>
  z
    .union([
      z.array(z.string().trim().regex(pattern, what)).max(100),
      z
        .string()
        .transform((value) => value.split(/[\s,]+/).filter((part) => part !== ""))
        .pipe(z.array(z.string().regex(pattern, what)).max(100)),
    ])
    .transform((list) => [...new Set(list)])

const ENV = words(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "must name environment variables")
const BIN = words(/^[A-Za-z0-9_@+][A-Za-z0-9._@+-]{0,99}$/, "must name programs, without a path")
const WORD = words(/^[^\s\p{C}]{1,200}$/u, "must be words")

const Install = z.looseObject({ id: text(200).nullish(), kind: text(50).nullish(), label: text(300).nullish() })

const Extension = z.looseObject({
  always: flag.nullish(),
  emoji: text(32).nullish(),
  homepage: text(2000).nullish(),
  primaryEnv: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/)
    .nullish(),
  os: WORD.nullish(),
  requires: z
    .looseObject({ bins: BIN.nullish(), anyBins: BIN.nullish(), env: ENV.nullish(), config: WORD.nullish() })
    .nullish(),
  install: z.array(Install).max(50).nullish(),
})

const Header = z.looseObject({
  name: z
    .string({ error: (issue) => (issue.input === undefined ? "is missing" : "must be text") })
    .max(64)
    .regex(NAME, "1 to 64 of a-z, 0-9 and single -"),
  description: text(1024),
  license: text(500).nullish(),
  compatibility: text(500).nullish(),
  homepage: text(2000).nullish(),
  "allowed-tools": z.union([WORD, z.array(text(300)).max(100)]).nullish(),
  "user-invocable": flag.nullish(),
  "disable-model-invocation": flag.nullish(),
  metadata: z.unknown().optional(),
})

/** Reads the frontmatter of a SKILL.md. Throws 400 that names the field and what is wrong with it. */
export function parseSkillMd(data: Buffer): SkillHeader {
  const head = parsed(Header, readYaml(frontmatterOf(data)), "")
  const own = extensionOf(head.metadata)
  return {
    name: head.name,
    description: head.description,
    license: head.license ?? null,
    compatibility: head.compatibility ?? null,
    homepage: head.homepage ?? own.homepage ?? null,
    allowedTools: head["allowed-tools"] ?? [],
    userInvocable: head["user-invocable"] ?? true,
    disableModelInvocation: head["disable-model-invocation"] ?? false,
    always: own.always ?? false,
    emoji: own.emoji ?? null,
    primaryEnv: own.primaryEnv ?? null,
    os: (own.os ?? []).map((name) => OS_NAMES[name.toLowerCase()] ?? name.toLowerCase()),
    requires: {
      bins: own.requires?.bins ?? [],
      anyBins: own.requires?.anyBins ?? [],
      env: own.requires?.env ?? [],
      config: own.requires?.config ?? [],
    },
    install: (own.install ?? []).map(({ id, kind, label }) => ({
      id: id ?? null,
      kind: kind ?? null,
      label: label ?? null,
    })),
  }
}

const OS_NAMES: Record<string, string> = {
  macos: "darwin",
  osx: "darwin",
  mac: "darwin",
  windows: "win32",
  win: "win32",
}

function frontmatterOf(data: Buffer): string {
  if (data.length > MAX_SKILL_MD_BYTES) throw invalid(`it is over ${MAX_SKILL_MD_BYTES / 1024} KiB`)
  let whole: string
  try {
    whole = new TextDecoder("utf-8", { fatal: true }).decode(data)
  } catch {
    throw invalid("it is not UTF-8 text")
  }
  if (whole.includes("\0")) throw invalid("it holds a NUL")
  const opening = /^---[ \t]*\r?\n/.exec(whole)
  if (opening === null) throw invalid("it must begin with a line --- and frontmatter")
  const rest = whole.slice(opening[0].length)
  const closing = /^---[ \t]*(?:\r?\n|$)/m.exec(rest)
  if (closing === null) throw invalid("the frontmatter has no closing line ---")
  const block = rest.slice(0, closing.index)
  if (Buffer.byteLength(block) > MAX_FRONTMATTER_BYTES)
    throw invalid(`the frontmatter is over ${MAX_FRONTMATTER_BYTES / 1024} KiB`)
  return block
}

const MAX_BRACKETS = 32

function readYaml(source: string): unknown {
  // The parser recurses; a text of brackets alone would keep the main thread for a tenth of a second.
  let depth = 0
  for (const character of source) {
    if (character === "[" || character === "{") depth++
    else if (character === "]" || character === "}") depth--
    if (depth > MAX_BRACKETS) throw invalid("the frontmatter is nested too deep")
  }
  try {
    const document = parseDocument(source, {
      schema: "core",
      version: "1.2",
      uniqueKeys: true,
      stringKeys: true,
      logLevel: "silent",
    })
    const error = document.errors[0]
    if (error)
      throw invalid(`the frontmatter is not YAML: ${firstLine(error.message)} (put text with ": " into quotes)`)
    return document.toJS({ maxAliasCount: 20 })
  } catch (error) {
    if (error instanceof AppError) throw error
    // Aliases that multiply, or nesting that overflows the parser's stack.
    throw new AppError("invalid_request", "SKILL.md is not valid: the frontmatter cannot be read", { cause: error })
  }
}

/** `metadata.openclaw` or its older names. The mapping may also be written as JSON or YAML in one string. */
function extensionOf(metadata: unknown): z.output<typeof Extension> {
  const outer = typeof metadata === "string" ? readYaml(metadata) : metadata
  if (outer === null || outer === undefined) return {}
  const known = parsed(
    z.looseObject({
      openclaw: z.unknown().optional(),
      clawdbot: z.unknown().optional(),
      clawdis: z.unknown().optional(),
    }),
    outer,
    "metadata",
  )
  const own = known.openclaw ?? known.clawdbot ?? known.clawdis
  if (own === null || own === undefined) return {}
  return parsed(Extension, typeof own === "string" ? readYaml(own) : own, "metadata.openclaw")
}

function parsed<T extends z.ZodType>(schema: T, input: unknown, where: string): z.output<T> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const path = [where, ...(issue?.path ?? [])].filter((part) => part !== "").join(".")
  const message = issue?.code === "invalid_type" && issue.path.length > 0 ? missingOr(issue.message) : issue?.message
  throw invalid(`${path || "the frontmatter"}: ${message ?? "is not as it should be"}`)
}

const missingOr = (message: string) => (message.includes("undefined") ? "is missing" : message)
const firstLine = (message: string) => (message.split("\n", 1)[0] ?? "").slice(0, 200)
