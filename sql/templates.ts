import { Cache } from './cache.js';
import { type Skeleton, withOtherConstants } from './literals.js';
import { isOpaque } from './opaque.js';
import type { Rewrite } from './outcome.js';
import { sameRewrite, Template } from './template.js';
import type { ByteString } from './tree.js';

/** Skeletons that are remembered, and the memory that they may take, bytes. */
const ENTRIES = 5_000;
const BYTES = 32 << 20;

/** What is known of a skeleton: it was seen once, it has a template, or it can have none. */
type Known = 'once' | Template | 'none';

/**
 * The templates of a rule set. A skeleton gets one when it is seen for the second time, and only if
 * that is proved: the template is filled with other constants, and what comes out has to be to the
 * byte what the rewriter makes of that text itself.
 */
export class Templates {
  private readonly skeletons = new Cache<Known>(ENTRIES, BYTES);

  /**
   * @param signature under which texts have one meaning.
   * @returns null when the text has to be rewritten by itself.
   */
  fill(signature: string, text: ByteString, skeleton: Skeleton): Rewrite | null {
    const known = this.skeletons.get(signature + skeleton.key);
    return known instanceof Template ? known.fill(text, skeleton) : null;
  }

  /** @param rewrite what `make` made of the text. */
  learn(
    signature: string,
    text: ByteString,
    skeleton: Skeleton,
    rewrite: Rewrite,
    make: (text: ByteString) => Rewrite,
  ): void {
    const key = signature + skeleton.key;
    const known = this.skeletons.get(key);
    if (known === 'none' || isOpaque(rewrite.reason)) return;
    if (!known) {
      this.skeletons.set(key, 'once', 0);
      return;
    }
    const template = prove(text, skeleton, rewrite, make);
    this.skeletons.set(key, template ?? 'none', template ? rewrite.edits.length * 300 : 0);
  }
}

function prove(
  text: ByteString,
  skeleton: Skeleton,
  rewrite: Rewrite,
  make: (text: ByteString) => Rewrite,
): Template | null {
  const template = Template.of(text, skeleton, rewrite);
  const other = template && withOtherConstants(text, skeleton);
  if (!other) return null;
  return sameRewrite(template.fill(other.text, other.skeleton), make(other.text)) ? template : null;
}
