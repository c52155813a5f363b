import { randomBytes } from "node:crypto"
import { systemClock } from "../../server/src/lib/clock.ts"
import { hostBinaries } from "../../server/src/skills/binaries.ts"
import { freshSqlite } from "../../test/databases.ts"
import { publishedFile, release } from "../../test/doubles/clawhub/catalogue.ts"
import { type RegistryDouble, startRegistryDouble } from "../../test/doubles/clawhub/registry.ts"
import { NO_SIGNAL, ORIGIN, type SkillsUnderTest, skillsUnderTest } from "../../test/skills.ts"
import { skillMd } from "../../test/zip.ts"

export interface Row {
  name: string
  median: number
  unit: string
  limit: number | null
}

const SKILLS = 200
const FILES = 40
const MIB = 1024 * 1024

/** What 200 skills add to a message, and what an install of 1 MB costs beside its download. */
export async function benchSkills(rounds = 30): Promise<Row[]> {
  await using db = await freshSqlite()
  await using registry = await startRegistryDouble()
  const binaries = hostBinaries(systemClock, "sandbox")
  using under = await skillsUnderTest({ db, binaries, registryUrl: registry.url })
  offerOneMegabyte(registry)

  const listing = async () =>
    medianOf(await timed(rounds * 5, () => under.skills.forPrompt(under.user.id, under.agentId)))
  const install = medianOf(await timed(rounds, () => under.skills.install(under.user, "big", {}, ORIGIN, NO_SIGNAL)))
  const download = medianOf(await timed(rounds, () => downloadOf(registry)))
  await under.skills.remove(under.user, "big", ORIGIN)
  const without = await listing()
  await addSkills(under)
  await under.skills.forPrompt(under.user.id, under.agentId)
  const withSkills = await listing()
  return [
    { name: `listing ${SKILLS} skills for a message`, median: withSkills - without, unit: "ms", limit: 2 },
    { name: "installing 1 MB beside the download", median: install - download, unit: "ms", limit: 150 },
  ]
}

async function addSkills(under: SkillsUnderTest): Promise<void> {
  const needs = "metadata: {openclaw: {requires: {bins: [sh], env: [A_TOKEN]}}}\n"
  under.secrets.add("A_TOKEN")
  for (let i = 0; i < SKILLS; i++) await under.upload(`s-${i}`, skillMd(`s-${i}`, needs, "x".repeat(300)))
}

function offerOneMegabyte({ skills }: RegistryDouble): void {
  const scripts = Array.from({ length: FILES }, (_, i) =>
    publishedFile(`scripts/${i}.txt`, randomBytes(MIB / FILES / 2).toString("hex")),
  )
  const owner = { handle: "acme", displayName: "Acme" }
  const versions = [release("1.0.0", [publishedFile("SKILL.md", skillMd("big")), ...scripts])]
  skills.push({ id: "big", owner, slug: "big", displayName: "Big", summary: "One megabyte.", versions })
}

async function downloadOf({ url }: RegistryDouble): Promise<void> {
  const answer = await fetch(`${url}/api/v1/download?slug=big&ownerHandle=acme&version=1.0.0`)
  await answer.arrayBuffer()
}

async function timed(rounds: number, work: () => Promise<unknown>): Promise<number[]> {
  await work()
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    await work()
    times.push(performance.now() - start)
  }
  return times
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
