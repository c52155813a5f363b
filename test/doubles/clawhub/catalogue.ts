import { createHash } from "node:crypto"

/** A published file. */
export interface PublishedFile {
  path: string
  bytes: Buffer
  size: number
  sha256: string
  contentType: string
}

export type Status = "clean" | "suspicious" | "malicious" | "pending" | "error"

export interface Version {
  version: string
  changelog: string
  files: PublishedFile[]
  status: Status
  /** False: staged; nobody sees it until it is published. */
  public: boolean
  /** Entries that the archive holds beside the published files. */
  stowaways?: Record<string, string>
  /** Downloads answer JSON that points to GitHub. */
  onGitHub?: boolean
}

export interface Owner {
  handle: string
  displayName: string
}

export interface Skill {
  id: string
  owner: Owner
  slug: string
  displayName: string
  summary: string
  versions: Version[]
}

export const T0 = 1_780_000_000_000
export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")

export function publishedFile(path: string, text: string | Buffer, contentType = "text/markdown"): PublishedFile {
  const bytes = Buffer.from(text)
  return { path, bytes, size: bytes.length, sha256: sha256(bytes), contentType }
}

export function fingerprintOf(files: readonly PublishedFile[]): string {
  const sorted = [...files].sort((a, b) => a.path.localeCompare(b.path))
  return sha256(Buffer.from(sorted.map((file) => `${file.path}:${file.sha256}`).join("\n")))
}

export function release(version: string, files: PublishedFile[], more: Partial<Version> = {}): Version {
  return { version, changelog: `Release ${version}`, files, status: "clean", public: true, ...more }
}

const acme: Owner = { handle: "acme", displayName: "Acme" }
const beta: Owner = { handle: "beta", displayName: "Beta Labs" }

const HELLO_META = 'metadata:\n  openclaw:\n    emoji: "👋"\n    requires:\n      bins: [sh]\nuser-invocable: true\n'

function md(name: string, description: string, more: string, body: string): PublishedFile {
  return publishedFile("SKILL.md", `---\nname: ${name}\ndescription: ${description}\n${more}---\n\n${body}\n`)
}

const hello = (v: string): PublishedFile[] => [
  md(
    "hello-world",
    "Greets people. Use when the user asks for a greeting.",
    HELLO_META,
    `# Hello ${v}\nRun {baseDir}/scripts/hello.sh`,
  ),
  publishedFile("scripts/hello.sh", `#!/bin/sh\necho hello ${v}\n`, "application/x-sh"),
  publishedFile("references/NOTES.md", `notes ${v}\n`),
]

const STOWAWAYS = [
  "../escape.txt",
  "/abs.txt",
  "a/../../escape2.txt",
  "back\\slash.txt",
  ".clawhub/origin.json",
  "dir/./dot.txt",
]

/** What the double offers unless a test adds to it: an honest skill with an update in waiting, and one of each trouble. */
export function catalogue(): Skill[] {
  let count = 0
  const skill = (owner: Owner, slug: string, displayName: string, summary: string, versions: Version[]): Skill => {
    count++
    return { id: `s${count}`, owner, slug, displayName, summary, versions }
  }
  const lone = (slug: string, description: string, body: string, version: string, more: Partial<Version> = {}) => [
    release(version, [md(slug, description, "", body)], more),
  ]
  return [
    skill(acme, "hello-world", "Hello World", "Greets people.", [
      release("1.0.0", hello("1.0.0")),
      release("1.1.0", hello("1.1.0"), { public: false }),
    ]),
    // The same slug of two publishers: without an owner it is ambiguous.
    skill(acme, "twin", "Twin A", "Twin of acme.", lone("twin", "Twin A.", "a", "0.1.0")),
    skill(beta, "twin", "Twin B", "Twin of beta.", lone("twin", "Twin B.", "b", "0.2.0")),
    skill(
      acme,
      "risky",
      "Risky",
      "Suspicious skill.",
      lone("risky", "Does risky things.", "eval", "1.0.0", { status: "suspicious" }),
    ),
    // The real registry hides these (404); the double shows the detail, so that a client's own refusal is tested.
    skill(
      acme,
      "malware",
      "Malware",
      "Malicious skill.",
      lone("malware", "Bad.", "bad", "1.0.0", { status: "malicious" }),
    ),
    skill(
      acme,
      "zip-slip",
      "Zip Slip",
      "Hostile archive.",
      lone("zip-slip", "Hostile archive.", "x", "1.0.0", {
        stowaways: Object.fromEntries(STOWAWAYS.map((path) => [path, "hostile\n"])),
      }),
    ),
    skill(
      acme,
      "pending",
      "Pending",
      "Scan pending.",
      lone("pending", "Scan pending.", "x", "1.0.0", { status: "pending" }),
    ),
  ]
}
