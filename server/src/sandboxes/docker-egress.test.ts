import { after, test } from "node:test"
import { fileURLToPath } from "node:url"
import { dockerObstacle, testDocker } from "../../../test/docker.ts"
import { runInNetworkOf } from "./egress/own-network.ts"

const obstacle = dockerObstacle()
const file = fileURLToPath(new URL("./egress/egress.test.ts", import.meta.url))

test("a container's way outwards is held as bubblewrap's is", obstacle === null ? {} : { skip: obstacle }, async () => {
  const docker = await testDocker()
  after(() => docker[Symbol.asyncDispose]())
  const env = { AUTONOMIS_TEST_DOCKER_SOCKET: docker.socket }
  // All that lies outside of the container is the same code: with TEST_LONG it is gone through again.
  const only = process.env.TEST_LONG ? {} : { only: "(curl|there is|without leave)" }
  await runInNetworkOf(docker.pid, file, { env, ...only })
})
