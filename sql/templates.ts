import { Cache } from './cache.js';
import { type Shape, withOtherConstants } from './literals.js';
import type { Rewrite } from './outcome.js';
import { sameRewrite, Template } from './template.js';
import type { ByteString } from './tree.js';

/** Shapes that are remembered, and the memory that they may take, bytes. */
const ENTRIES = 5_000;
const BYTES = 32 << 20;

/** What is known of a shape: it was seen once, it has a template, or it can have none. */
type Known = 'once' | Template | 'none';

/**
 * The templates of a rule set. A shape gets one when it is seen for the second time, and only if it
 * is proved: the template is filled with other constants, and what comes out has to be to the byte
 * what the rewriter makes of that text itself.
 */
export class Templates {
  private readonly shapes = new Cache<Known>(ENTRIES, BYTES);

  /**
   * @param signature under which texts have one meaning.
   * @returns null when the text has to be rewritten by itself.
   */
  fill(signature: string, text: ByteString, shape: Shape): Rewrite | null {
    const known = this.shapes.get(signature + shape.key);
    return known instanceof Template ? known.fill(text, shape) : null;
  }

  /** @param rewrite what `make` made of the text. */
  learn(
    signature: string,
    text: ByteString,
    shape: Shape,
    rewrite: Rewrite,
    make: (text: ByteString) => Rewrite,
  ): void {
    const key = signature + shape.key;
    const known = this.shapes.get(key);
    if (known === 'none' || rewrite.reason === 'parser') return;
    if (!known) {
      this.shapes.set(key, 'once', 0);
      return;
    }
    const template = prove(text, shape, rewrite, make);
    this.shapes.set(key, template ?? 'none', template ? rewrite.edits.length * 300 : 0);
  }
}

function prove(
  text: ByteString,
  shape: Shape,
  rewrite: Rewrite,
  make: (text: ByteString) => Rewrite,
): Template | null {
  const template = Template.of(text, shape, rewrite);
  const other = template && withOtherConstants(text, shape);
  if (!other) return null;
  return sameRewrite(template.fill(other.text, other.shape), make(other.text)) ? template : null;
}
