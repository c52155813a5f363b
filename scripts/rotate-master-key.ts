import { join } from "node:path"
import { readConfig } from "../server/src/config.ts"
import { openDatabase } from "../server/src/db/open.ts"
import { replaceFile } from "../server/src/lib/durable-file.ts"
import { messageOf } from "../server/src/lib/errors.ts"
import { KEY_BYTES } from "../server/src/lib/seal.ts"
import { forgetOlderKeys, rotateMasterKey } from "../server/src/secrets/rotate.ts"
import { ownKeys } from "../server/src/start/own-keys.ts"

// npm run rotate-master-key: seals the users' secrets with a new master key, beside running servers, with their
// settings. With --finish, once every server runs with the new key: forgets how to get from the old key to the new one.
const NEW_KEY = "AUTONOMIS_NEW_MASTER_KEY"

try {
  await run()
} catch (error) {
  console.error(`rotate-master-key: ${messageOf(error)}`)
  process.exitCode = 1
}

async function run(): Promise<void> {
  const given = newKey()
  const { config, secrets } = readConfig(process.env, process.cwd())
  await using db = await openDatabase({
    url: secrets.databaseUrl,
    dataDir: config.dataDir,
    now: Date.now(),
    onError: (error) => console.error(`a database connection broke: ${error.message}`),
    say: console.log,
  })
  if (process.argv.includes("--finish")) {
    await forgetOlderKeys(db)
    console.log("Done: servers that still have an older master key can no longer read the secrets.")
    return
  }
  const inFile = secrets.masterKey === null
  if (!inFile && given === null)
    throw new Error(
      `the master key is in AUTONOMIS_MASTER_KEY, so set the new one in ${NEW_KEY} (openssl rand -base64 32)`,
    )
  const { masterKey } = ownKeys(config.dataDir, secrets)
  const { key, users } = await rotateMasterKey(db, masterKey, given)
  const file = join(config.dataDir, "master.key")
  if (inFile) replaceFile(file, `${Buffer.from(key).toString("base64")}\n`)
  console.log(
    `The secrets of ${users} users are sealed with the new master key${inFile ? `, which is in ${file}` : ""}.`,
  )
  if (!inFile) console.log(`Put it into AUTONOMIS_MASTER_KEY and restart the servers.`)
  console.log("Running servers go on reading. Once all were restarted: npm run rotate-master-key -- --finish")
}

function newKey(): Buffer | null {
  const text = process.env[NEW_KEY]?.trim()
  delete process.env[NEW_KEY]
  if (!text) return null
  const bytes = Buffer.from(text, "base64")
  if (bytes.length !== KEY_BYTES) throw new Error(`${NEW_KEY} must be ${KEY_BYTES} bytes in base64`)
  return bytes
}
