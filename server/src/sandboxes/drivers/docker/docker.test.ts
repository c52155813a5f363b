import { after, test } from "node:test"
import { dockerObstacle, testDocker } from "../../../../../test/docker.ts"
import { silentLogger } from "../../../lib/log.ts"
import { driverContract } from "../../driver-contract.ts"
import { anySignal, temporaryFolder } from "../../testing.ts"
import { createDockerDriver } from "./docker.ts"

const obstacle = dockerObstacle()

if (obstacle !== null) test("driver docker", { skip: obstacle }, () => {})
else {
  const docker = await testDocker()
  after(() => docker[Symbol.asyncDispose]())
  const options = { log: silentLogger, socket: docker.socket }
  // Tried once for real: the tests below are each made a driver of their own, on the same daemon.
  await using folder = await temporaryFolder()
  await using tested = createDockerDriver({ ...options, dataDir: folder.path })
  const report = await tested.selfTest(anySignal())
  driverContract("docker", (dataDir) => createDockerDriver({ ...options, dataDir, weakened: { report } }))
}
