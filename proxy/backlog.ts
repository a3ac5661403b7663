/** What a client has sent behind a message that waits. */
export class Backlog {
  private chunks: Buffer[] = [];
  /** How much it is, bytes. */
  bytes = 0;

  /** @param chunk is copied. */
  push(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    this.bytes += chunk.length;
  }

  shift(): Buffer | undefined {
    if (this.bytes === 0) return undefined;
    const chunk = this.chunks.shift();
    if (chunk) this.bytes -= chunk.length;
    return chunk;
  }

  clear(): void {
    this.chunks = [];
    this.bytes = 0;
  }
}
