namespace Optim.Ptx;

/// <summary>Runs a kernel thread by thread. A register that is read before it is written is an error, as is a thread that runs on and on.</summary>
public sealed class PtxRun(PtxProgram program, PtxMemory memory)
{
    // The one NaN that these devices make.
    private const uint NaN32 = 0x7FFF_FFFF;
    private const ulong NaN64 = 0x7FFF_FFFF_FFFF_FFFF;

    /// <summary>Instructions beyond which a thread does not end.</summary>
    private const long Most = 100_000_000;

    private readonly Instruction[] instructions = [.. program.Instructions];
    private readonly bool waits = program.Instructions.Any(each => each.Code == Code.Barrier || IsOfWarp(each.Code));

    /// <summary>Whether all threads of a warp do it together.</summary>
    private static bool IsOfWarp(Code code) => code is Code.Shuffle or Code.Exchange or Code.Vote;

    /// <summary>Threads that exchange values.</summary>
    private const int Warp = 32;

    private sealed class Thread(int registers)
    {
        public readonly ulong[] Values = new ulong[registers];
        public readonly int[] Written = new int[registers];
        public int Life;
        public int At;
        public bool HasEnded;
        public Access Access;
    }

    /// <summary>Instructions that were run.</summary>
    public long Executed { get; private set; }

    /// <summary>Some blocks of a launch, all of their threads.</summary>
    /// <param name="first">The first block.</param>
    /// <param name="count">How many.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="parameters">The bytes of the parameters.</param>
    public void Run(uint first, uint count, int threads, ReadOnlySpan<byte> parameters)
    {
        if (threads > program.Threads)
            throw new PtxException($"{threads} threads, and .maxntid says {program.Threads}");
        if (parameters.Length != program.ParameterBytes)
            throw new PtxException($"{parameters.Length} bytes of parameters, and there are {program.ParameterBytes}");
        memory.Begin();
        var team = new Thread[waits ? threads : 1];
        for (var i = 0; i < team.Length; i++)
            team[i] = new(program.Registers);
        for (var block = first; block < first + count; block++)
        {
            if (waits)
                RunTogether(team, block, parameters);
            else
                for (var thread = 0; thread < threads; thread++)
                {
                    Begin(team[0], block, thread, 0);
                    Run(team[0], parameters);
                }
        }
    }

    /// <summary>Threads that wait for each other. One that has ended waits for nobody, and nobody for it.</summary>
    private void RunTogether(Thread[] team, uint block, ReadOnlySpan<byte> parameters)
    {
        for (var i = 0; i < team.Length; i++)
            Begin(team[i], block, i, 0);
        for (var phase = 1; ; phase++)
        {
            var waiting = -2;
            for (var first = 0; first < team.Length; first += Warp)
                RunWarp(team.AsSpan(first, Math.Min(Warp, team.Length - first)), parameters);
            foreach (var thread in team)
            {
                if (thread.HasEnded)
                    continue;
                if (waiting >= 0 && waiting != thread.At)
                    throw new PtxException("threads wait at different barriers");
                waiting = thread.At;
                thread.Access = thread.Access with { Phase = phase };
            }
            if (waiting < 0)
                return;
            if (Array.Exists(team, thread => thread.HasEnded))
                throw new PtxException("threads have ended while others wait at a barrier");
        }
    }

    /// <summary>Threads of a warp, each to its end or to the next barrier; all of them exchange values together.</summary>
    private void RunWarp(Span<Thread> warp, ReadOnlySpan<byte> parameters)
    {
        while (true)
        {
            foreach (var thread in warp)
                if (!thread.HasEnded)
                    Run(thread, parameters);
            var (shuffling, others) = (-1, false);
            foreach (var thread in warp)
                if (thread.HasEnded || !IsOfWarp(instructions[thread.At - 1].Code))
                    others = true;
                else if (shuffling >= 0 && shuffling != thread.At)
                    throw new PtxException("threads of a warp exchange different values");
                else
                    shuffling = thread.At;
            if (shuffling < 0)
                return;
            if (others || warp.Length < Warp)
                throw new PtxException("threads exchange values with some that do not");
            var now = instructions[shuffling - 1];
            var sent = new ulong[Warp];
            for (var lane = 0; lane < Warp; lane++)
                sent[lane] = Read(warp[lane], now.Operands[1], now);
            for (var lane = 0; lane < Warp; lane++)
                Write(warp[lane], now.Operands[0], Received(warp[lane], lane, now, sent));
        }
    }

    private ulong Received(Thread thread, int lane, Instruction now, ulong[] sent)
    {
        if (now.Code == Code.Vote)
            return Array.Exists(sent, value => value != 0) ? 1UL : 0;
        var number = (int)Read(thread, now.Operands[2], now);
        var from = now.Code == Code.Exchange ? lane ^ number : lane + number;
        return sent[from < Warp ? from : lane];
    }

    private static void Begin(Thread thread, uint block, int number, int phase)
    {
        thread.Life++;
        (thread.At, thread.HasEnded) = (0, false);
        thread.Access = new((int)block, number, phase);
    }

    /// <summary>To its end, or to where it waits for others.</summary>
    private void Run(Thread thread, ReadOnlySpan<byte> parameters)
    {
        var steps = 0L;
        while (true)
        {
            if (thread.At >= instructions.Length)
                throw new PtxException("a thread runs past the last instruction");
            if (++steps > Most)
                throw new PtxException("a thread does not end");
            var now = instructions[thread.At++];
            if (now.Guard >= 0 && Read(thread, new(now.Guard, 0), now) != 0 == now.IsNegated)
                continue;
            switch (now.Code)
            {
                case Code.Branch:
                    thread.At = now.Target;
                    break;
                case Code.Return:
                    thread.HasEnded = true;
                    Executed += steps;
                    return;
                case Code.Barrier:
                case Code.Shuffle:
                case Code.Exchange:
                case Code.Vote:
                    Executed += steps;
                    return;
                case Code.LoadParameter:
                    var bytes = parameters.Slice(now.Offset, now.Size);
                    Write(thread, now.Operands[0], now.Size == 8 ? BitConverter.ToUInt64(bytes) : BitConverter.ToUInt32(bytes));
                    break;
                case Code.Load:
                case Code.Store:
                    Move(thread, now);
                    break;
                default:
                    Compute(thread, now);
                    break;
            }
        }
    }

    private void Move(Thread thread, Instruction now)
    {
        var address = Read(thread, now.Operands[0], now) + (ulong)now.Offset;
        var width = now.Operands.Length - 1;
        if (address % (ulong)(now.Size * width) != 0)
            throw new PtxException($"address {address:x} is no multiple of {now.Size * width}: {now.Line}");
        for (var i = 0; i < width; i++)
        {
            var at = address + (ulong)(i * now.Size);
            if (now.Code == Code.Load)
                Write(thread, now.Operands[i + 1], memory.Load(at, now.Size, thread.Access));
            else
                memory.Store(at, now.Size, Read(thread, now.Operands[i + 1], now), thread.Access);
        }
    }

    private void Compute(Thread thread, Instruction now)
    {
        var operands = now.Operands;
        var a = Read(thread, operands[1], now);
        var b = operands.Length > 2 ? Read(thread, operands[2], now) : 0;
        var c = operands.Length > 3 ? Read(thread, operands[3], now) : 0;
        Write(
            thread,
            operands[0],
            now.Code switch
            {
                Code.Move or Code.Widen32 or Code.Widen16 => a,
                Code.Narrow16 => (ushort)a,
                Code.Narrow32 => (uint)a,
                Code.DoubleToFloat => Of((float)D(a)),
                Code.DoubleToWhole => D(a) is >= 0 and < 1e18 ? (ulong)D(a) : throw new PtxException($"{D(a)}: {now.Line}"),
                Code.FloatToInteger => (uint)(int)F(a),
                Code.IntegerToFloat => Of((float)(int)a),
                Code.WholeToDouble => Of((double)a),
                Code.FloatToDouble => Of((double)F(a)),
                Code.Add32 => (uint)a + (uint)b & uint.MaxValue,
                Code.Subtract32 => (uint)a - (uint)b & uint.MaxValue,
                Code.Add64 => a + b,
                Code.Subtract64 => a - b,
                Code.MultiplyLow32 => (uint)a * (uint)b,
                Code.SmallerS32 => (uint)Math.Min((int)a, (int)b),
                Code.LargerS32 => (uint)Math.Max((int)a, (int)b),
                Code.MultiplyLow64 => a * b,
                Code.MultiplyWide => (ulong)(uint)a * (uint)b,
                Code.Larger64 => Math.Max(a, b),
                Code.Divide64 => b == 0 ? throw new PtxException($"by 0: {now.Line}") : a / b,
                Code.ExclusiveOr => a ^ b,
                Code.Smaller64 => Math.Min(a, b),
                Code.And => a & b,
                Code.Or => a | b,
                // Amounts beyond the width give 0 there.
                Code.ShiftLeft32 => b > 31 ? 0 : (uint)a << (int)b,
                Code.ShiftLeft64 => b > 63 ? 0 : a << (int)b,
                Code.ShiftRight32 => b > 31 ? 0 : (uint)a >> (int)b,
                Code.ShiftRight64 => b > 63 ? 0 : a >> (int)b,
                Code.AddF32 => Of(F(a) + F(b)),
                Code.SubtractF32 => Of(F(a) - F(b)),
                Code.MultiplyF32 => Of(F(a) * F(b)),
                Code.DivideF32 => Of(F(a) / F(b)),
                Code.NegateF32 => Of(-F(a)),
                Code.AbsF32 => Of(Math.Abs(F(a))),
                Code.RootF32 => Of(MathF.Sqrt(F(a))),
                Code.FmaF32 => Of(MathF.FusedMultiplyAdd(F(a), F(b), F(c))),
                Code.AddF64 => Of(D(a) + D(b)),
                Code.SubtractF64 => Of(D(a) - D(b)),
                Code.MultiplyF64 => Of(D(a) * D(b)),
                Code.DivideF64 => Of(D(a) / D(b)),
                Code.NegateF64 => Of(-D(a)),
                Code.AbsF64 => Of(Math.Abs(D(a))),
                Code.RootF64 => Of(Math.Sqrt(D(a))),
                Code.FmaF64 => Of(Math.FusedMultiplyAdd(D(a), D(b), D(c))),
                Code.Select => c != 0 ? a : b,
                Code.Equal => a == b ? 1UL : 0,
                Code.NotEqual => a != b ? 1UL : 0,
                Code.AtLeastU32 or Code.AtLeastU64 => a >= b ? 1UL : 0,
                Code.GreaterU32 => a > b ? 1UL : 0,
                Code.LessU32 => a < b ? 1UL : 0,
                Code.AtMostU32 => a <= b ? 1UL : 0,
                Code.GreaterU64 => a > b ? 1UL : 0,
                Code.AtMostU64 => a <= b ? 1UL : 0,
                Code.GreaterS32 => (int)a > (int)b ? 1UL : 0,
                Code.GreaterF32 => F(a) > F(b) ? 1UL : 0,
                Code.GreaterF64 => D(a) > D(b) ? 1UL : 0,
                Code.IsNaNF32 => float.IsNaN(F(a)) || float.IsNaN(F(b)) ? 1UL : 0,
                Code.IsNaNF64 => double.IsNaN(D(a)) || double.IsNaN(D(b)) ? 1UL : 0,
                _ => throw new PtxException(now.Line),
            }
        );
    }

    private ulong Read(Thread thread, Operand operand, Instruction now)
    {
        if (operand.Register >= 0)
            return thread.Written[operand.Register] == thread.Life
                ? thread.Values[operand.Register]
                : throw new PtxException($"{program.NameOf(operand.Register)} is read before it is written: {now.Line}");
        return operand.Register switch
        {
            Special.Thread => (uint)thread.Access.Thread,
            Special.Block => (uint)thread.Access.Block,
            _ => operand.Value,
        };
    }

    private static void Write(Thread thread, Operand operand, ulong value)
    {
        thread.Values[operand.Register] = value;
        thread.Written[operand.Register] = thread.Life;
    }

    private static float F(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits);

    private static double D(ulong bits) => BitConverter.UInt64BitsToDouble(bits);

    private static ulong Of(float value) => float.IsNaN(value) ? NaN32 : BitConverter.SingleToUInt32Bits(value);

    private static ulong Of(double value) => double.IsNaN(value) ? NaN64 : BitConverter.DoubleToUInt64Bits(value);
}
