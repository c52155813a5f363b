const KIB = 1024
const MIB = 1024 * KIB

/** What one skill may be, counted while it is read. */
export const MAX_FILES = 500
export const MAX_UNPACKED_BYTES = 10 * MIB
/** The body of an upload, and the archive that a registry sends. */
export const MAX_ARCHIVE_BYTES = 10 * MIB
/** Files and folders together: an archive's own list. */
export const MAX_ENTRIES = 1000
export const MAX_DEPTH = 10
export const MAX_NAME_BYTES = 200
export const MAX_PATH_BYTES = 512
/** All paths of a bundle together: they are listed with each skill. */
export const MAX_PATHS_BYTES = 48 * KIB
/** Unpacked to packed. Text stays far under it; a bomb does not. */
export const MAX_RATIO = 100
/** Under this size a ratio says nothing. */
export const RATIO_FROM_BYTES = 256 * KIB
/** SKILL.md is read by a model; its frontmatter by a parser on the main thread. */
export const MAX_SKILL_MD_BYTES = MIB
export const MAX_FRONTMATTER_BYTES = 16 * KIB
/** Skills of one user. */
export const MAX_SKILLS = 200
