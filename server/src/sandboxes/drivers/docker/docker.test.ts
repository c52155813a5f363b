import { after, test } from "node:test"
import { dockerObstacle, testDocker } from "../../../../../test/docker.ts"
import { silentLogger } from "../../../lib/log.ts"
import { driverContract } from "../../driver-contract.ts"
import { createDockerDriver } from "./docker.ts"

const obstacle = dockerObstacle()

if (obstacle !== null) test("driver docker", { skip: obstacle }, () => {})
else {
  const docker = await testDocker()
  after(() => docker[Symbol.asyncDispose]())
  driverContract("docker", (dataDir) => createDockerDriver({ dataDir, log: silentLogger, socket: docker.socket }))
}
