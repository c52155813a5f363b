/**
 * Cuts Markdown where a new block begins at the margin, never within a fence or a list, so that an answer that grows
 * is parsed block by block instead of whole, again and again.
 */
export function splitBlocks(text: string): string[] {
  const blocks: string[] = []
  let block: string[] = []
  let fence: string | null = null
  let afterBlank = false
  for (const line of text.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? null
    const begins = fence === null && afterBlank && /^[^\s\-*+\d>|]/.test(line)
    if (begins && block.length > 0) {
      blocks.push(block.join("\n"))
      block = []
    }
    if (mark !== null) {
      if (fence === null) fence = mark
      else if (mark.startsWith(fence)) fence = null
    }
    block.push(line)
    afterBlank = line.trim() === ""
  }
  if (block.length > 0) blocks.push(block.join("\n"))
  return blocks
}
