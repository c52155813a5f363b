import { driverContract } from "../../driver-contract.ts"
import { createFakeDriver } from "./fake.ts"

driverContract("fake", (dataDir) => createFakeDriver({ dataDir }))
