import { bashTool } from "./bash.ts"
import { editTool } from "./edit.ts"
import { readTool } from "./read.ts"
import type { Tool, ToolDeps } from "./tool.ts"
import { writeTool } from "./write.ts"

const TOOLS = { bash: bashTool, edit: editTool, read: readTool, write: writeTool }

/** The tools that are on, in the order of their names: the order is part of the cached prompt. */
export function createTools(names: readonly string[], deps: ToolDeps): Tool[] {
  return Object.entries(TOOLS)
    .filter(([name]) => names.includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, make]) => make(deps))
}
