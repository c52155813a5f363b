/** The contract's rule for the names of users and agents; repeated here so that its schemas stay out of the bundle. */
export const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/
