import assert from "node:assert/strict"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { forEachDatabase, freshSqlite } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import { createAttachments } from "./attachments.ts"
import type { ConversationMessage } from "./content.ts"

const image = (text: string): ConversationMessage => ({
  v: 1,
  role: "user",
  content: [{ type: "image", mime_type: "image/png", bytes: new Uint8Array(Buffer.from(text)) }],
})

forEachDatabase((_name, open) => {
  test("an image of a refused message leaves no file, one of a stored message stays", async () => {
    const db = await open()
    const folder = await mkdtemp(join(tmpdir(), "autonomis-attachments-"))
    try {
      const row = { id: "usr_1", name: "ada", email: null, display_name: null, tier: "free", created_at: 0 }
      const user = { ...row, state: "active" as const, state_reason: null, limits: "{}" }
      await db.batch([{ query: db.kysely.insertInto("users").values(user) }])
      const attachments = createAttachments(db, folder, () => 0)
      const files = () => readdir(join(folder, "users", "usr_1", "attachments"))

      const stored = await attachments.keep("usr_1", [image("stored")])
      await db.batch(stored.steps)
      stored.done()
      const refused = await attachments.keep("usr_1", [image("refused"), image("stored")])
      assert.equal((await files()).length, 2)
      refused.done()
      await until(async () => (await files()).length === 1, "the refused image to go")
      const again = await attachments.keep("usr_1", [image("stored")])
      again.done()
      assert.deepEqual(await attachments.fill("usr_1", stored.messages, 1000), [image("stored")].map(withHash))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

test("what a server wrote and did not live to store is gone after the next start; what is stored or under way stays", async () => {
  await using db = await freshSqlite()
  const folder = await mkdtemp(join(tmpdir(), "autonomis-attachments-"))
  try {
    const row = { id: "usr_1", name: "ada", email: null, display_name: null, tier: "free", created_at: 0 }
    const user = { ...row, state: "active" as const, state_reason: null, limits: "{}" }
    await db.batch([{ query: db.kysely.insertInto("users").values(user) }])
    const at = join(folder, "users", "usr_1", "attachments")
    const before = createAttachments(db, folder, () => 0)
    await db.batch((await before.keep("usr_1", [image("stored")])).steps)
    await before.keep("usr_1", [image("lost")])
    await writeFile(join(at, "tmp_1.part"), "half")
    await mkdir(join(folder, "users", "usr_2"), { recursive: true })
    assert.equal((await readdir(at)).length, 3)

    const after = createAttachments(db, folder, () => 0)
    const underWay = await after.keep("usr_1", [image("under way")])
    await after.sweepLost(new AbortController().signal)
    assert.equal((await readdir(at)).length, 2)
    await db.batch(underWay.steps)
    underWay.done()
    await after.sweepLost(new AbortController().signal)
    assert.equal((await readdir(at)).length, 2)
    assert.deepEqual(await readFile(join(at, HASH_OF_STORED), "utf8"), "stored")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** As it is read back: the hash stays beside the bytes. */
function withHash(message: ConversationMessage): unknown {
  return { ...message, content: message.content.map((part) => ({ ...part, hash: HASH_OF_STORED })) }
}
const HASH_OF_STORED = "87b04e58961f9a99d853d4046a0b5b793e7c3e4bbd21f5aca8fb17c20cdb1d8b"
