import { MIB } from "../settings.ts"
import { applyEdits } from "./apply-edits.ts"
import { defineTool, orNever, result, type Tool, type ToolDeps } from "./tool.ts"

export function editTool({ pi, hands }: ToolDeps): Tool {
  const edit = pi.Type.Object({
    oldText: pi.Type.String({ description: "Text to replace, exactly as it stands in the file; it must occur once" }),
    newText: pi.Type.String({ description: "Text to put in its place" }),
  })
  const parameters = pi.Type.Object({
    path: pi.Type.String({ description: "The file, absolute or relative to /work" }),
    edits: pi.Type.Array(edit, {
      description: "Replacements, all found in the file as it is now; they must not overlap",
    }),
  })
  return defineTool({
    name: "edit",
    label: "edit",
    description: "Replaces parts of a text file (up to 1 MiB). Each 'oldText' must occur exactly once.",
    parameters,
    /** Models like to give one replacement without the list, or the list as text. */
    prepareArguments(given: unknown) {
      if (typeof given !== "object" || given === null) return { path: "", edits: [] }
      const { path, edits, oldText, newText } = { path: "", edits: [], oldText: "", newText: "", ...given }
      if (oldText !== "" && edits.length === 0) return { path, edits: [{ oldText, newText }] }
      return { path, edits: typeof edits === "string" ? JSON.parse(edits) : Array.isArray(edits) ? edits : [edits] }
    },
    async execute(_id, { path, edits }, given) {
      const signal = orNever(given)
      const file = await hands.readFile(path, { offset: 0, length: MIB + 1 }, signal)
      if (file.sizeBytes > MIB) throw new Error(`${path} has ${file.sizeBytes} bytes; files up to 1 MiB can be edited`)
      // What is seen here is not what stands there: written back, the secrets would be gone.
      if (file.masked)
        throw new Error(
          `${path} holds values of secrets, which are masked here and which an edit would destroy; change it with bash, e.g. sed -i`,
        )
      const edited = await applyEdits(path, file.data, edits)
      await hands.writeFile(path, Buffer.from(edited.text), signal)
      const count = edits.length === 1 ? "1 replacement" : `${edits.length} replacements`
      return result(`Edited ${path}: ${count}.`, { shown: edited.diff })
    },
  })
}
