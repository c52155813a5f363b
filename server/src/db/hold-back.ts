import pg from "pg"

/** What is sent over the connection from here on leaves by one write, when the function it gives is called. */
export function holdBack(client: pg.PoolClient): () => void {
  if (!(client instanceof pg.Client)) return () => {}
  const { stream } = client.connection
  stream.cork()
  return () => stream.uncork()
}
