import type { Database } from "../db/database.ts"
import { StartError } from "../lib/start-error.ts"
import { createMasterKeys } from "./master-keys.ts"

/** Stops the start when something stored is sealed by a master key that this server was not given. */
export async function checkMasterKey(db: Database, own: Uint8Array): Promise<void> {
  const used = await db.read.selectFrom("data_keys").select("master_version").distinct().execute()
  const keys = createMasterKeys(db, own)
  for (const { master_version: version } of used) {
    await keys.byVersion(version).catch((cause: unknown) => {
      const message =
        "AUTONOMIS_MASTER_KEY (or master.key in the data folder) is not the key that the stored secrets are sealed with; put that one back."
      throw new StartError(message, { cause })
    })
  }
}
