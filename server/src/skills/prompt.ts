import { createHash } from "node:crypto"
import { offer, type Surroundings } from "./offer.ts"
import type { SkillRow, SkillStore } from "./store.ts"

/** A skill as the model is told of it: it reads the rest itself. */
export interface PromptSkill {
  name: string
  description: string
  path: string
}

/** What of a skill decides whether and how it is listed; its files are not kept in memory. */
type Kept = Pick<SkillRow, "slug" | "updatedAt"> & { info: Pick<SkillRow["info"], "header" | "quarantine"> }

const MAX_KEPT = 10_000

export interface PromptSkills {
  list(userId: string, agentId: string): Promise<PromptSkill[]>
  /** Changes with each change of `list`. */
  version(userId: string, agentId: string): Promise<string>
  /** The skill that a message calls by `/name`, if the user may call it; null otherwise. */
  called(userId: string, agentId: string, text: string): Promise<PromptSkill | null>
}

export function createPromptSkills(
  store: SkillStore,
  surroundings: (userId: string, agentId: string) => Promise<Surroundings>,
  /** The folder in which the model finds a user's skills. */
  folderOf: (userId: string) => string,
): PromptSkills {
  const cache = new Map<string, Kept>()

  /** Reads the rows that changed since they were last read; mostly none. */
  const skillsOf = async (userId: string): Promise<Kept[]> => {
    const keys = await store.keys(userId)
    const unknown = keys.filter((key) => cache.get(key.id)?.updatedAt !== key.updated_at).map((key) => key.id)
    const read = new Map<string, Kept>()
    for (const row of await store.some(userId, unknown)) {
      const { header, quarantine } = row.info
      read.set(row.id, { slug: row.slug, updatedAt: row.updatedAt, info: { header, quarantine } })
    }
    if (cache.size + read.size > MAX_KEPT) cache.clear()
    const found = keys.flatMap((key) => read.get(key.id) ?? cache.get(key.id) ?? [])
    for (const [id, kept] of read) cache.set(id, kept)
    return found
  }

  const shown = (userId: string, { slug, info }: Kept): PromptSkill => ({
    name: slug,
    description: info.header.description,
    path: `${folderOf(userId)}/${slug}/SKILL.md`,
  })

  const list = async (userId: string, agentId: string): Promise<PromptSkill[]> => {
    const skills = await skillsOf(userId)
    if (skills.length === 0) return []
    const around = await surroundings(userId, agentId)
    return skills.filter(({ info }) => offer(info, around).listed).map((skill) => shown(userId, skill))
  }

  return {
    list,
    async version(userId, agentId) {
      return createHash("sha256")
        .update(JSON.stringify(await list(userId, agentId)))
        .digest("hex")
        .slice(0, 16)
    },
    async called(userId, agentId, text) {
      const slug = /^\/([a-z0-9-]{1,64})(?:\s|$)/.exec(text)?.[1]
      if (slug === undefined) return null
      const skill = (await skillsOf(userId)).find((one) => one.slug === slug)
      if (skill === undefined || !skill.info.header.userInvocable) return null
      return offer(skill.info, await surroundings(userId, agentId)).state === "active" ? shown(userId, skill) : null
    },
  }
}
