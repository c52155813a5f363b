import assert from "node:assert/strict"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { provideBubblewrap } from "./provide-sandbox.ts"

const folder = mkdtempSync(join(tmpdir(), "autonomis-provide-"))
after(() => rmSync(folder, { recursive: true }))

/** A path with an `apt-get` that does what is told, and the shell's own programs. */
function pathWith(aptGet: string | null): string {
  const bin = mkdtempSync(join(folder, "bin-"))
  if (aptGet !== null) {
    writeFileSync(join(bin, "apt-get"), `#!/bin/sh\n${aptGet}\n`)
    chmodSync(join(bin, "apt-get"), 0o755)
  }
  return aptGet === null ? bin : `${bin}:/usr/bin:/bin`
}

async function provide(options: { path: string; isRoot: boolean; isMissing: () => boolean }): Promise<string[]> {
  const said: string[] = []
  const { signal } = new AbortController()
  const env = { PATH: options.path }
  await provideBubblewrap({ ...options, env, signal, say: (line) => void said.push(line) })
  return said
}

test("nothing is said or done when bubblewrap is there", async () => {
  assert.deepEqual(await provide({ path: pathWith("exit 1"), isRoot: true, isMissing: () => false }), [])
})

test("as root on Debian it is installed, after an update, and that is said", async () => {
  const marker = join(folder, "installed")
  let missing = true
  const path = pathWith(`echo "$DEBIAN_FRONTEND $*" >> ${marker}`)
  const said = await provide({
    path,
    isRoot: true,
    isMissing: () => {
      const now = missing
      missing = false
      return now
    },
  })
  assert.equal(said.length, 2)
  assert.match(said[0] ?? "", /installing it from Debian/)
  assert.match(said[1] ?? "", /bubblewrap is installed/)
  assert.match(readFileSync(marker, "utf8"), /^noninteractive update .*\nnoninteractive install -y .* bubblewrap\n$/)
})

test("an install that fails says why and what to run", async () => {
  const said = await provide({ path: pathWith("echo no network >&2; exit 100"), isRoot: true, isMissing: () => true })
  assert.match(said.at(-1) ?? "", /could not be installed \(no network\); run: apt-get update/)
})

test("who is not root is told the one line to run", async () => {
  const said = await provide({ path: pathWith("exit 0"), isRoot: false, isMissing: () => true })
  assert.equal(said.length, 1)
  assert.match(said[0] ?? "", /sudo apt-get install bubblewrap$/)
})

test("where there is no apt-get nothing is tried", async () => {
  const said = await provide({ path: pathWith(null), isRoot: true, isMissing: () => true })
  assert.equal(said.length, 1)
  assert.match(said[0] ?? "", /your system's packages/)
})
