/*
 * tso.h - memory as an x86 has it: a process's stores wait in a buffer, in order, and reach memory some time
 * later; loads do not wait for them. A fence waits until the buffer is empty. Without that, a model checker sees
 * each store at once and finds no protocol that lacks a fence wrong.
 *
 * Nobody loads a word of its own from memory (it has a private copy, as in the code), so that a load need not
 * look into the buffer. What a killed process has stored still reaches memory: it is seen dead after that.
 */
#ifndef WORDS
#define WORDS 8
#endif

byte mem[WORDS];

#define BUFFER(name_) chan name_ = [2] of { byte, byte }
#define STORE(buffer_, word_, value_) buffer_!word_,value_
#define FENCE(buffer_) (empty(buffer_))
#define LOAD(word_) mem[word_]

proctype drain(chan buffer)
{
    byte word, value;
end:
    do
    :: atomic { buffer?word,value -> mem[word] = value }
    od
}
