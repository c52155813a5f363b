import assert from "node:assert/strict"
import { test } from "node:test"
import { silentLogger } from "../../lib/log.ts"
import { createEgressJournal, type EgressRecord } from "./journal.ts"

test("a flood of destinations is a few records, in which nothing is lost", async () => {
  const reports: EgressRecord[][] = []
  const owner = { id: "agt_1", userId: "usr_1" }
  {
    await using journal = createEgressJournal(async (_owner, records) => void reports.push(records), silentLogger)
    for (let i = 0; i < 1000; i++) {
      journal.connected(owner, `n${i}.test:443`, "198.51.100.7")
      journal.moved(owner, `n${i}.test:443`, "198.51.100.7", { out: 2, in: 3 })
      journal.refused(owner, `r${i % 5}.test:25`, `reason ${i}`)
    }
    assert.deepEqual(journal.counts(), { connections: 1000, refused: 1000, bytesOut: 2000, bytesIn: 3000 })
  }
  assert.equal(reports.length, 1)
  const records = reports[0] ?? []
  assert.ok(records.length <= 31, String(records.length))
  const sum = (of: (record: EgressRecord) => number) => records.reduce((all, record) => all + of(record), 0)
  const { connections, refused, bytesOut, bytesIn } = {
    ...{ connections: sum((r) => r.connections), refused: sum((r) => r.refused) },
    ...{ bytesOut: sum((r) => r.bytesOut), bytesIn: sum((r) => r.bytesIn) },
  }
  assert.deepEqual([connections, refused, bytesOut, bytesIn], [1000, 1000, 2000, 3000])
  assert.equal(records.find((record) => record.destination === "r4.test:25")?.reason, "reason 999")
})

test("a report that fails is told to the log, and the next one comes", async () => {
  const said: string[] = []
  let times = 0
  const log = { ...silentLogger, error: (message: string) => void said.push(message) }
  {
    await using journal = createEgressJournal(async () => {
      if (times++ === 0) throw new Error("no database")
    }, log)
    journal.refused({ id: "agt_1", userId: "usr_1" }, "a.test:80", "denied")
    journal.refused({ id: "agt_2", userId: "usr_1" }, "a.test:80", "denied")
  }
  assert.equal(times, 2)
  assert.equal(said.length, 1)
})
