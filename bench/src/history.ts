import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { interleaved, median, type Row } from "./rows.ts"
import { account, benchServer, type Chat, chat, message } from "./server.ts"

const SESSIONS = 10_000
const MESSAGES = 10_000

/** Whether a chat is as quick with much behind it as with little. */
export async function benchHistory(rounds = 60): Promise<Row[]> {
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), "autonomis-bench-")))
  const [small = "", large = ""] = folders
  await using double = await startOpenAiDouble()
  try {
    double.script(() => ({ text: "A short answer." }))
    for (const dataDir of folders) await prepare(double.url, dataDir)
    multiply(large)
    await using few = await benchServer(double.url, {}, small)
    await using many = await benchServer(double.url, {}, large)
    const key = async (server: typeof few) =>
      (await server.call("POST", "/users/ada/rotate-key", { grace_seconds: 0 })).body.api_key as string
    const withFew: Chat = { server: few, user: "ada", key: await key(few) }
    const withMany: Chat = { server: many, user: "ada", key: await key(many) }
    const next = (session: string) => message("and then?", { session })
    const run = {
      few: (round: number) => chat(withFew, next(`fresh-${round}`)),
      many: (round: number) => chat(withMany, next(`fresh-${round}`)),
      fresh: () => chat(withFew, next("session-1")),
      long: () => chat(withMany, next("session-0")),
    }
    // The first message of a long session makes room by a summary; those after it are what users feel.
    await interleaved(15, run)
    const times = await interleaved(rounds, {
      ...run,
      few: (round) => chat(withFew, next(`later-${round}`)),
      many: (round) => chat(withMany, next(`later-${round}`)),
    })
    return [
      {
        name: `a chat with ${SESSIONS} stored sessions beside one with ten`,
        median: median(times.many) / median(times.few),
        unit: "×",
        limit: 1.2,
      },
      {
        name: `a chat in a session of ${MESSAGES} messages beside a new one`,
        median: median(times.long) / median(times.fresh),
        unit: "×",
        limit: 1.5,
      },
    ]
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
}

async function prepare(doubleUrl: string, dataDir: string): Promise<void> {
  await using server = await benchServer(doubleUrl, {}, dataDir)
  const key = await account(server, "ada")
  for (let i = 0; i < 10; i++) {
    await chat(
      { server, user: "ada", key },
      message("A question of usual length, of some twenty words?", { session: `session-${i}` }),
    )
  }
  await server.stop()
}

/** Copies what real chats stored: sessions with their messages, and one session's messages over and over. */
function multiply(dataDir: string): void {
  const raw = new DatabaseSync(join(dataDir, "autonomis.db"))
  const columns = (table: string, changed: Record<string, string>) => {
    const names = raw
      .prepare(`pragma table_info(${table})`)
      .all()
      .map((row) => String(row.name))
    return `insert into ${table} (${names.join(", ")}) select ${names.map((name) => changed[name] ?? `t.${name}`).join(", ")} from ${table} t`
  }
  const numbers = (from: number, to: number) =>
    `with recursive n (i) as (select ${from} union all select i + 1 from n where i < ${to})`
  raw.exec("begin")
  const model = "(select id from sessions where name = 'session-1')"
  raw.exec(
    `${numbers(10, SESSIONS - 1)} ${columns("sessions", { id: "'ses_copy' || n.i", name: "'session-' || n.i" })}, n where t.id = ${model}`,
  )
  raw.exec(
    `${numbers(10, SESSIONS - 1)} ${columns("messages", { id: "t.id || n.i", session_id: "'ses_copy' || n.i" })}, n where t.session_id = ${model}`,
  )
  const long = "(select id from sessions where name = 'session-0')"
  const last = `(select max(seq) from messages where session_id = ${long})`
  raw.exec(
    `${numbers(1, MESSAGES / 2 - 1)} ${columns("messages", { id: "t.id || '_' || n.i", seq: `t.seq + n.i * ${last}` })}, n where t.session_id = ${long}`,
  )
  raw.exec(`update sessions set message_count = ${MESSAGES}, last_seq = ${last} where id = ${long}`)
  raw.exec("commit")
  raw.close()
}
