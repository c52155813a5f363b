/** Why the server cannot start: one sentence for the operator, which names what to change. */
export class StartError extends Error {
  override readonly name = "StartError"
}
