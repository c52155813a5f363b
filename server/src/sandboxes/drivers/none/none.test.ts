import { silentLogger } from "../../../lib/log.ts"
import { driverContract } from "../../driver-contract.ts"
import { createNoneDriver } from "./none.ts"

driverContract("none", (dataDir) => createNoneDriver({ dataDir, log: silentLogger }))
