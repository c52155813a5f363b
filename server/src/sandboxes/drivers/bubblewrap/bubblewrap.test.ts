import { silentLogger } from "../../../lib/log.ts"
import { driverContract } from "../../driver-contract.ts"
import { createBubblewrapDriver } from "./bubblewrap.ts"

driverContract("bubblewrap", (dataDir) => createBubblewrapDriver({ dataDir, log: silentLogger }))
