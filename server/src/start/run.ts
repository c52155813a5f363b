import { createApp } from "../app.ts"
import { readConfig } from "../config.ts"
import { openDatabase } from "../db/open.ts"
import { systemClock } from "../lib/clock.ts"
import { jsonLogger } from "../lib/log.ts"
import { StartError } from "../lib/start-error.ts"
import { keepTickShape } from "../lib/tick-shape.ts"
import { lockDataFolder, prepareDataFolder } from "./data-folder.ts"
import { giveBackMemory } from "./give-back.ts"
import { listen } from "./listen.ts"
import { ownKeys } from "./own-keys.ts"
import { patientStderr } from "./patient-stderr.ts"
import { provideBubblewrap } from "./provide-sandbox.ts"
import { listenForSignals } from "./signals.ts"

/** What running answers are given when the server stops. */
const DRAIN_MS = 30_000
const BROKEN_DRAIN_MS = 5_000
/** After the drain everything has this long to close, else the process ends without it. */
const CLOSE_MS = 15_000

const say = (line: string) => process.stdout.write(`${line}\n`)

/** The whole life of the server process. */
export async function run(): Promise<void> {
  // Who reads our output may go away; that must not end the server.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
  try {
    await start()
  } catch (error) {
    const known = error instanceof StartError
    process.stderr.write(`autonomis: ${known ? error.message : error instanceof Error ? error.stack : error}\n`)
    process.exit(1)
  }
}

async function start(): Promise<void> {
  const log = jsonLogger((line) => process.stderr.write(line), systemClock.now)
  const { config, secrets } = readConfig(process.env, process.cwd())
  prepareDataFolder(config.dataDir)
  const folderLock = lockDataFolder(config.dataDir)
  const db = await openDatabase({
    url: secrets.databaseUrl,
    dataDir: config.dataDir,
    now: systemClock.now(),
    onError: (error) => log.warn("a database connection broke", { error }),
    say,
  })
  const keys = ownKeys(config.dataDir, secrets)
  let publicUrl = config.publicUrl ?? ""
  const app = await createApp({
    config,
    providers: secrets.providers,
    adminKey: keys.adminKey,
    masterKey: keys.masterKey,
    db,
    clock: systemClock,
    log,
    publicUrl: () => publicUrl,
    ...(config.accessLog ? { accessLog: patientStderr() } : {}),
    checkAnswers: process.argv.includes("--check-answers"),
    beforeSandboxTest: (isMissing, signal) =>
      provideBubblewrap({ isMissing, say, signal, env: process.env, isRoot: process.getuid?.() === 0 }),
  })

  async function stop(drainMs: number, exitCode: number): Promise<void> {
    app.drain()
    await withDeadline(app.idle(), drainMs)
    const closing = (async () => {
      await app[Symbol.asyncDispose]()
      await db[Symbol.asyncDispose]()
      folderLock[Symbol.dispose]()
    })()
    await withDeadline(
      closing.catch((error: unknown) => log.error("stopping failed", { error })),
      CLOSE_MS,
    )
    process.exit(exitCode)
  }
  listenForSignals({
    stop(signal) {
      log.info("stopping: running answers may end", { signal })
      void stop(DRAIN_MS, 0)
    },
    kill: () => process.exit(130),
  })
  // A promise that nobody waited for is a defect to be read of, but what others do is not harmed by it.
  process.on("unhandledRejection", (error) => log.error("a failure that nobody handled", { error }))
  // After this the state is not known: end in order, with what can still be answered, and let the supervisor start anew.
  process.once("uncaughtException", (error) => {
    log.error("an unexpected failure; the server stops", { error })
    void stop(BROKEN_DRAIN_MS, 1)
  })

  const address = await listen(app.server, config.host, config.port)
  publicUrl ||= address
  say(`Autonomis is ready at ${publicUrl}${publicUrl === address ? "" : ` (it listens on ${address})`}`)
  say(`The admin key is in ${keys.adminKeyPlace}`)
  if (keys.isNew) say(`Your admin key, shown this once: ${keys.adminKey}`)
  const link = await app.welcomeLink()
  if (link !== null) say(`Open the dashboard as administrator, once, within 10 minutes: ${link}`)
  keepTickShape()
  giveBackMemory()
  app.start()
}

/** Resolves with the promise, or after the time without it. */
async function withDeadline(promise: Promise<unknown>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([promise, late])
  clearTimeout(timer)
}
