import { defineTool, orNever, result, type Tool, type ToolDeps } from "./tool.ts"

export function writeTool({ pi, hands }: ToolDeps): Tool {
  const parameters = pi.Type.Object({
    path: pi.Type.String({ description: "The file, absolute or relative to /work" }),
    content: pi.Type.String({ description: "The whole new text of the file" }),
  })
  return defineTool({
    name: "write",
    label: "write",
    description: "Writes a file whole: makes it and its folders, or replaces what it held.",
    parameters,
    async execute(_id, { path, content }, signal) {
      const data = Buffer.from(content)
      await hands.writeFile(path, data, orNever(signal))
      return result(`Wrote ${data.byteLength} bytes to ${path}.`)
    },
  })
}
