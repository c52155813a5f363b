import { dockerSocket } from "../server/src/config.ts"
import { createEngine } from "../server/src/sandboxes/drivers/docker/engine.ts"
import { IMAGE, importImage } from "../server/src/sandboxes/drivers/docker/image.ts"
import { problemOf } from "../server/src/sandboxes/drivers/docker/problems.ts"
import { withImageRoot } from "./image-root.ts"

// npm run sandbox-image [-- --mirror URL]: makes the image of AUTONOMIS_SANDBOX=docker from Debian's packages, on this
// machine. Nothing is pulled from a registry.
const say = (line: string) => console.log(line)
const at = process.argv.indexOf("--mirror")
const mirror = at < 0 ? undefined : process.argv[at + 1]

try {
  const engine = createEngine(dockerSocket(process.env))
  // Asked first: nobody should wait a minute to be told that there is no daemon.
  await engine.call("GET", "/info").catch((error) => Promise.reject(new Error(problemOf(error))))
  await withImageRoot({ say, mirror }, async (tar) => {
    say(`Handing it to the Docker daemon as ${IMAGE} …`)
    await importImage(engine, tar(), new AbortController().signal)
  })
  say(`${IMAGE} is made. Start the server with AUTONOMIS_SANDBOX=docker; one that runs already finds it by itself.`)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
