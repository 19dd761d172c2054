import { gzipSync } from "node:zlib";

/** tarGz makes a small archive in memory: name → contents; every file is executable. */
export function tarGz(files: Record<string, string>): Buffer {
  const blocks: Buffer[] = [];
  for (const [name, text] of Object.entries(files)) {
    const body = Buffer.from(text);
    blocks.push(header(name, body.length), body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  blocks.push(Buffer.alloc(1024));
  return gzipSync(Buffer.concat(blocks));
}

function header(name: string, size: number): Buffer {
  const h = Buffer.alloc(512);
  const octal = (n: number, width: number) => `${n.toString(8).padStart(width - 1, "0")}\0`;
  h.write(name, 0, 100);
  h.write(octal(0o755, 8), 100);
  h.write(octal(0, 8), 108);
  h.write(octal(0, 8), 116);
  h.write(octal(size, 12), 124);
  h.write(octal(0, 12), 136);
  h.write("        ", 148); // the sum is taken over blanks
  h.write("0", 156);
  h.write("ustar\x0000", 257);
  h.write(octal(h.reduce((a, b) => a + b, 0), 7), 148);
  h[155] = 0x20;
  return h;
}
