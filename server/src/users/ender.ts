/** A part that works for users in the background or keeps something of theirs in memory. Every call is idempotent. */
export interface Ender {
  /** The user is being deleted: stop everything, take nothing new, forget. Resolves when it is seen stopped. */
  endUser?(userId: string): Promise<void>
  /** As `endUser`, for one agent that is gone. */
  endAgent?(agent: { id: string; userId: string; hostUid: number }): Promise<void>
  /** Cancel what runs; it may begin again later. */
  suspendUser?(userId: string): Promise<void>
}

/** Asks all parts at once and waits for all, also when one fails: then it throws that failure. */
export async function askEnders(
  enders: readonly Ender[],
  ask: (ender: Ender) => Promise<void> | undefined,
): Promise<void> {
  const answers = await Promise.allSettled(enders.map(async (ender) => ask(ender)))
  const failed = answers.find((answer) => answer.status === "rejected")
  if (failed !== undefined) throw failed.reason
}
