import assert from "node:assert/strict"
import { after, test } from "node:test"
import type { DatabaseName } from "../test/databases.ts"
import { stopOwnPostgres } from "../test/postgres.ts"
import { call, startServer } from "../test/server.ts"
import { until } from "../test/until.ts"

const ROUNDS = process.env.TEST_LONG ? 20 : 3
const WRITERS = 8

after(stopOwnPostgres)

for (const database of ["sqlite", "postgres"] satisfies DatabaseName[]) {
  test(`on ${database}, what was acknowledged is there after kill -9, whole`, async () => {
    await using first = await startServer({ database })
    await first.kill9()
    const made: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await using server = await startServer({
        dataDir: first.dataDir,
        ...(first.databaseUrl === null ? {} : { databaseUrl: first.databaseUrl }),
      })
      let count = 0
      let killed = false
      const write = async () => {
        while (!killed) {
          const user = `u${round}-${count++}`
          const answer = await call(server.url, "POST", "/users", { user }, server.adminKey).catch(() => null)
          if (answer?.status === 201) made.push(user)
          else assert.ok(answer === null, `${answer?.status} ${JSON.stringify(answer?.body)}`)
        }
      }
      const writers = Array.from({ length: WRITERS }, write)
      const already = made.length
      await until(() => made.length > already + 20 + 13 * round, "some users are made")
      await server.kill9()
      killed = true
      await Promise.all(writers)
    }
    await using last = await startServer({
      dataDir: first.dataDir,
      ...(first.databaseUrl === null ? {} : { databaseUrl: first.databaseUrl }),
    })
    for (const user of made) {
      const answer = await last.call("GET", `/users/${user}`)
      assert.equal(answer.status, 200, user)
      assert.equal(answer.body.user, user)
    }
    assert.ok(made.length > 20 * ROUNDS)
  })
}
