/**
 * The providers that Autonomis knows, without the agent library: which environment variables (or secrets of the same
 * names) hold the key and base URL, and which model is the default. In the order in which a default is looked for.
 */
export interface Provider {
  id: string
  label: string
  /** Any one of these is the key; the first is named in messages. */
  keyVariables: string[]
  baseUrlVariable: string | null
  /** The model used when nothing names one; without the provider's prefix. */
  defaultModel: string
}
