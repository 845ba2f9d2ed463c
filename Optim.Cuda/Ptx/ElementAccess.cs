using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>How elements that may be codes are loaded and stored: four neighbours at once, or each by itself where it is there.</summary>
internal sealed class ElementAccess(PtxText text, ElementCode<float> elements)
{
    /// <summary>Loads four neighbouring elements.</summary>
    public void LoadFour(NarrowKind kind, bool isWords, string place, string[] registers)
    {
        if (!NarrowKinds.HasScales(kind))
        {
            elements.Load(place, isWords || kind == NarrowKind.BFloat16, registers, 1);
            return;
        }
        var all = text.Into('r', "ld.global.u32", $"[{place}]");
        for (var i = 0; i < 4; i++)
        {
            var moved = i == 0 ? all : text.Into('r', "shr.u32", $"{all}, {8 * i}");
            text.Line($"and.b32 {registers[i]}, {moved}, 255");
        }
    }

    /// <summary>Loads an element where it is there; else it is 0.</summary>
    public void LoadOne(NarrowKind kind, bool isWords, string place, int element, string register, string isThere)
    {
        text.Line($"mov.b32 {register}, 0");
        if (TypeOf(kind, isWords) is var (type, size) && size == 4)
        {
            text.Line($"@{isThere} ld.global.{type} {register}, [{place}{ElementCode<float>.Offset(element * size)}]");
            return;
        }
        var word = text.New('h');
        text.Line($"@{isThere} ld.global.{type} {word}, [{place}{ElementCode<float>.Offset(element * size)}]");
        text.Line($"@{isThere} cvt.u32.u16 {register}, {word}");
    }

    /// <summary>Stores four neighbouring elements.</summary>
    public void StoreFour(NarrowKind kind, bool isWords, string place, string[] registers)
    {
        if (!NarrowKinds.HasScales(kind))
        {
            elements.Store(place, isWords || kind == NarrowKind.BFloat16, registers, 1);
            return;
        }
        var all = registers[0];
        for (var i = 1; i < 4; i++)
        {
            var moved = text.Into('r', "shl.b32", $"{registers[i]}, {8 * i}");
            all = text.Into('r', "or.b32", $"{all}, {moved}");
        }
        text.Line($"st.global.u32 [{place}], {all}");
    }

    /// <summary>Stores an element where it is there.</summary>
    public void StoreOne(NarrowKind kind, bool isWords, string place, int element, string register, string isThere)
    {
        var (type, size) = TypeOf(kind, isWords);
        var stored = size == 4 ? register : text.Into('h', "cvt.u16.u32", $"{register}");
        text.Line($"@{isThere} st.global.{type} [{place}{ElementCode<float>.Offset(element * size)}], {stored}");
    }

    private static (string Type, int Size) TypeOf(NarrowKind kind, bool isWords) =>
        kind switch
        {
            NarrowKind.Wide => isWords ? ("u16", 2) : ("f32", 4),
            NarrowKind.BFloat16 => ("u16", 2),
            _ => ("u8", 1),
        };
}
