import { boundOutput } from "./bound.ts"
import { defineTool, orNever, result, type Tool, type ToolDeps } from "./tool.ts"

const DEFAULT_SECONDS = 120
const MAX_SECONDS = 600

export function bashTool({ pi, hands, onOutput }: ToolDeps): Tool {
  const parameters = pi.Type.Object({
    command: pi.Type.String({ description: "The command, as typed into bash" }),
    timeout: pi.Type.Optional(
      pi.Type.Number({ description: `Seconds until it is killed (${DEFAULT_SECONDS}, at most ${MAX_SECONDS})` }),
    ),
  })
  return defineTool({
    name: "bash",
    label: "bash",
    description:
      "Runs a bash command in /work and returns its output (stdout and stderr together). Long output is shortened in " +
      "the middle and kept whole in a file that is named. Each call is a new shell: a changed folder or variable does " +
      `not last. A command is killed after ${DEFAULT_SECONDS} seconds unless 'timeout' says otherwise; start what must ` +
      "run longer in the background with its output in a file.",
    parameters,
    async execute(id, { command, timeout = DEFAULT_SECONDS }, signal) {
      if (!(timeout > 0)) throw new Error("'timeout' must be more than 0 seconds")
      const timeoutMs = Math.min(timeout, MAX_SECONDS) * 1000
      const done = await hands.exec({ command, timeoutMs }, (chunk) => onOutput(id, chunk), orNever(signal))
      const output = boundOutput(done.output, done.fullOutputPath)
      const kept = done.fullOutputPath !== null && output === done.output && !output.includes(done.fullOutputPath)
      const text = kept ? `${output}\n[The whole output is in ${done.fullOutputPath}]` : output
      const failed = done.killed ?? (done.exitCode === 0 ? null : `exited with code ${done.exitCode}`)
      if (failed !== null) throw new Error(text === "" ? failed : `${text.replace(/\n$/, "")}\n\n${failed}`)
      return result(text === "" ? "(no output)" : text)
    },
  })
}
