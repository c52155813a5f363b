import type { RunSpec } from "./protocol.ts"

/** The demo model's part in words: what it says to what it is asked. Always says that it is the demo. */
export function demoAnswer(spec: RunSpec, question: string): string {
  const { agentName, agentDescription } = spec.prompt
  const asked = question.toLowerCase()
  const answers: string[] = []
  const has = (pattern: RegExp) => pattern.test(asked)

  if (has(/\b(?:who are you|your name|name\b.*\byou|introduce yourself|what are you)\b/)) {
    answers.push(`My name is ${agentName}.${agentDescription ? ` ${agentDescription}` : ""}`)
  }
  if (has(/\b(?:tools?|what can you do|abilities|capabilities)\b/)) {
    const names = [...spec.tools].sort()
    answers.push(names.length === 0 ? "I have no tools." : `My tools are: ${names.join(", ")}.`)
  }
  if (has(/\bskills?\b/)) {
    const names = spec.prompt.skills.map((skill) => skill.name)
    answers.push(names.length === 0 ? "I have no skills yet." : `My skills are: ${names.join(", ")}.`)
  }
  if (has(/\b(?:which|what) (?:model|llm|ai)\b|\byour model\b|\bmodel\b.*\?/)) {
    answers.push("My model is demo/demo, a script that is part of Autonomis and calls no provider.")
  }
  if (has(/\bfiles?\b|\bworkspace\b|\bfolder\b/)) {
    answers.push(
      'My files are in /work, in a sandbox of my own. To list them, send: /tool bash {"command":"ls -la /work"}',
    )
  }
  if (has(/\b(?:memory|remember)\b/)) {
    answers.push(spec.prompt.memory.trim() === "" ? "MEMORY.md is empty." : "What I remember stands in MEMORY.md.")
  }
  if (has(/\b(?:keys?|set ?up|provider|real model|anthropic|openai|claude|gpt)\b/)) answers.push(HOW_TO_SET_A_KEY)

  if (answers.length > 0) return `${answers.join(" ")}\n\n${NOTE}`
  return `Hello, I am ${agentName}, answering with the demo model: a script, not a language model. ${HOW_TO_SET_A_KEY} ${HOW_TO_TRY_TOOLS}`
}

const NOTE = "(I am the demo model: a script, not a language model.)"

const HOW_TO_SET_A_KEY =
  "To talk to a real model, set a provider's key, for example ANTHROPIC_API_KEY or OPENAI_API_KEY, in the server's environment and start it again, or store it as a secret of your own (PUT /api/v1/users/{user}/secrets)."

const HOW_TO_TRY_TOOLS =
  'Until then you can ask me my name, my tools, my model or my files, and try a tool with a line like this: /tool write {"path":"hello.txt","content":"hi"}'
